"""The moment it is visible, on the local AWS: the event on EventBridge's default bus, and scripts/wait.sh's command."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from commands.operate.stack import now_ms
from dev.local.gateway import StorageGateway
from dev.local.ministack import ACCOUNT, REGION, ROOT, MiniStack
from tests.e2e.conftest import FUNCTIONS, Bucket, Done, eventually, operator, run

RULE, TOLD = "a-rule-of-the-page", "told-of-what-is-visible"
# A refresh is surely after a change only if it is some seconds later.
DELAY_SECONDS = 6


@pytest.fixture(scope="module", autouse=True)
def delay(aws: MiniStack, stack: Any) -> Iterator[None]:  # noqa: ARG001 - it must be there
    functions = aws.client("lambda")
    before = functions.get_function_configuration(FunctionName=FUNCTIONS[0])["Environment"]["Variables"]
    longer = before | {"REFRESH_DELAY_SECONDS": str(DELAY_SECONDS)}
    functions.update_function_configuration(FunctionName=FUNCTIONS[0], Environment={"Variables": longer})
    yield
    functions.update_function_configuration(FunctionName=FUNCTIONS[0], Environment={"Variables": before})


def wait(aws: MiniStack, gateway: StorageGateway, *flags: str) -> Done:
    """As the operator, who may do what iam/operator.json allows."""
    environment = aws.environment() | operator(aws) | {"AWS_ENDPOINT_URL_STORAGE_GATEWAY": gateway.endpoint_url}
    return run("wait.sh", *flags, environment=environment)


@pytest.fixture
def told(aws: MiniStack, bucket: Bucket) -> Iterator[str]:
    """A queue that gets the events of the page's rule, with this bucket in it; its URL."""
    page = (ROOT / "docs/events.md").read_text()
    pattern = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[1])
    pattern["detail"] |= {"bucket": [bucket.name]}
    del pattern["detail"]["share"]
    sqs, events = aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName=TOLD)["QueueUrl"]
    events.put_rule(Name=RULE, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=RULE, Targets=[{"Id": "1", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{TOLD}"}])
    yield url
    events.remove_targets(Rule=RULE, Ids=["1"])
    events.delete_rule(Name=RULE)
    sqs.delete_queue(QueueUrl=url)


def test_who_writes_a_file_waits_until_the_share_shows_it_and_others_are_told_by_an_event(
    aws: MiniStack, gateway: StorageGateway, bucket: Bucket, told: str
) -> None:
    share = bucket.share("shots")
    wrote = now_ms()
    bucket.put("shots/s01/a.exr")
    done = wait(aws, gateway, "--bucket", bucket.name, "--key", "shots/s01/a.exr", "--timeout", "60")
    assert share.tree() == {"s01/a.exr"}
    assert done.status == 0, done.out + done.err
    assert f"{share.share_id}: Visible since the refresh that was accepted after the change" in done.out

    [message] = eventually(lambda: aws.client("sqs").receive_message(QueueUrl=told).get("Messages", []))
    event = json.loads(message["Body"])
    detail = event["detail"]
    assert (event["source"], event["resources"][0]) == ("s3-event-aggregator", share.arn)
    assert (detail["bucket"], detail["share"], detail["prefix"]) == (bucket.name, share.share_id, "shots/")
    assert (detail["folders"], detail["recursive"], detail["more-to-come"]) == (["/", "s01"], False, False)
    assert DELAY_SECONDS - 1 <= detail["seconds"] <= (now_ms() - wrote) / 1000


def test_who_waits_for_a_share_whose_gateway_is_offline_is_told_so_at_the_end_of_the_time(
    aws: MiniStack, gateway: StorageGateway, bucket: Bucket
) -> None:
    bucket.share(gateway_id="sgw-waited-for")
    gateway.set_online("sgw-waited-for", online=False)
    bucket.put("a.txt")
    eventually(lambda: any("Reason" in item for item in bucket.items()))
    flags = ("--bucket", bucket.name, "--key", "a.txt", "--timeout", "1")
    done = wait(aws, gateway, *flags)
    assert (done.status, done.err) == (1, "")
    assert "After 1 s:" in done.out
    assert "The specified gateway is not connected" in done.out
    quiet = wait(aws, gateway, *flags, "--quiet")
    assert (quiet.status, quiet.out, quiet.err) == (1, "", "")
    gateway.set_online("sgw-waited-for", online=True)
