"""Delivers completion events in EventBridge's place: nobody may put events of `aws.` sources, here as on AWS."""

import json
from typing import Any

from dev.local.ministack import ACCOUNT, REGION, MiniStack


def to_rule_targets(aws: MiniStack, event: dict[str, Any]) -> None:
    """Send `event` to the queues that are targets of the enabled rules whose pattern it matches.

    An event of another region or account stays on the bus there.
    """
    if (event["region"], event["account"]) != (REGION, ACCOUNT):
        return
    events, sqs = aws.client("events"), aws.client("sqs")
    text = json.dumps(event)
    for rule in events.list_rules()["Rules"]:
        pattern = rule.get("EventPattern")
        if rule["State"] != "ENABLED" or not pattern:
            continue
        if events.test_event_pattern(EventPattern=pattern, Event=text)["Result"]:
            for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]:
                queue = sqs.get_queue_url(QueueName=target["Arn"].rpartition(":")[2])["QueueUrl"]
                sqs.send_message(QueueUrl=queue, MessageBody=text)
