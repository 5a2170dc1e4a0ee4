"""Which attached buckets do not tell of their changes any more, on moto."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from commands.deploy.buckets import Wish
from commands.deploy.template import Json
from event_aggregator.attached import AttachedBuckets, notifies
from tests.unit.test_buckets import ACCOUNT, BUCKET, BY_RULE, RULE, Account, account, error, others

__all__ = ["account"]
FUNCTION = "p-S3EventAggregator"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{FUNCTION}"


def attached(account: Account, *restored: str) -> AttachedBuckets:
    """Asking for all of a bucket is said."""
    return AttachedBuckets(ARN, account.stack.client, frozenset(restored), account.said.append)


def look(account: Account) -> list[tuple[str, str]]:
    return [(lost.bucket, lost.why) for lost in attached(account).lost_notifications()]


@pytest.mark.parametrize(
    "wish", [Wish(), BY_RULE, Wish(prefixes=["a/", "b/"])], ids=["notification", "rule", "prefixes"]
)
def test_a_bucket_that_is_as_it_was_attached_is_not_told_of(account: Account, wish: Wish) -> None:
    assert look(account) == []
    account.attach(wish)
    assert look(account) == []


def test_a_notification_that_others_replaced_is_told_of_with_whom_it_tells_now(account: Account) -> None:
    account.attach()
    topic = {"Id": "t", "TopicArn": "arn:aws:sns:us-east-1:123456789012:t", "Events": ["s3:ObjectCreated:*"]}
    account.put({"TopicConfigurations": [topic]})

    assert look(account) == [
        (
            BUCKET,
            "its notification to the aggregator is gone or changed; it notifies arn:aws:sns:us-east-1:123456789012:t",
        )
    ]
    account.put({})
    assert look(account) == [(BUCKET, "its notification to the aggregator is gone or changed; it notifies nobody")]


def test_a_notification_of_some_changes_only_is_told_of(account: Account) -> None:
    account.attach()
    [ours] = account.notification()["LambdaFunctionConfigurations"]

    assert notifies(account.notification(), FUNCTION)
    assert not notifies({"LambdaFunctionConfigurations": [{**ours, "Events": ours["Events"][:2]}]}, FUNCTION)
    assert not notifies(account.notification(), "S3EventAggregator")


def off(account: Account) -> None:
    account.put({})


def disabled(account: Account) -> None:
    account.stack.client("events").disable_rule(Name=RULE)


@pytest.mark.parametrize(
    ("wipe", "why"),
    [
        (off, "it no longer sends events to EventBridge; it notifies nobody"),
        (disabled, "its EventBridge rule is disabled"),
    ],
)
def test_a_bucket_that_tells_eventbridge_no_more_is_told_of(
    account: Account, wipe: Callable[[Account], None], why: str
) -> None:
    account.attach(BY_RULE)
    wipe(account)

    assert look(account) == [(BUCKET, why)]


def test_a_bucket_that_was_deleted_is_not(account: Account) -> None:
    account.attach()
    account.stack.client("s3").delete_bucket(Bucket=BUCKET)

    assert look(account) == []


def test_a_look_tells_the_log_and_a_metric_and_changes_nothing(
    account: Account, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    account.attach()
    account.put({})

    attached(account).check()

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [warning] = [record.message for record in caplog.records]
    assert warning.endswith(f"To fix it, run scripts/attach-bucket.sh --bucket {BUCKET}")
    assert [(line["bucket"], line["NotificationsLost"]) for line in lines if "NotificationsLost" in line] == [
        (BUCKET, [1.0])
    ]
    assert account.notification() == {}


@pytest.mark.parametrize("wish", [Wish(prefixes=["a/"]), BY_RULE], ids=["notification", "rule"])
def test_a_named_buckets_notification_is_put_back_beside_those_of_others_and_all_is_refreshed(
    account: Account, wish: Wish
) -> None:
    account.attach(wish)
    account.put(others())
    account.said.clear()

    attached(account, "other").check()
    assert account.notification() == others(), "it is not named"
    attached(account, BUCKET, "other").check()

    assert account.said == [BUCKET]
    assert account.notification()["QueueConfigurations"] == others()["QueueConfigurations"]
    assert look(account) == []
    attached(account, BUCKET).check()
    assert account.said == [BUCKET], "once"
    assert account.attach(Wish(prefixes=[])) == (["keep"] if wish != BY_RULE else ["keep", "keep"])


def test_what_s3_does_not_take_back_is_told(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    account.attach()
    account.put({})

    def refuse(_: Json) -> None:
        raise error("InvalidArgument", "Configurations overlap")

    account.on_put(refuse)
    attached(account, BUCKET).check()

    assert "could not be put back: An error occurred (InvalidArgument)" in caplog.records[-1].message
    assert account.notification() == {}


def test_a_bucket_that_does_not_show_its_notification_is_not_passed_over(account: Account) -> None:
    account.attach()

    def deny(**_: Any) -> Json:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetBucketNotificationConfiguration")

    account.stack.client("s3").meta.events.register_first("before-parameter-build", deny)
    with pytest.raises(ClientError, match="AccessDenied"):
        look(account)


def test_what_cannot_be_looked_at_does_not_fail_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    @cache
    def client(service: str) -> Any:
        made = boto3.client(service, region_name="us-east-1")  # type: ignore[call-overload]

        def deny(**_: Any) -> Json:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetPolicy")

        made.meta.events.register("before-parameter-build", deny)
        return made

    AttachedBuckets(ARN, client, frozenset(), print).check()

    [record] = caplog.records
    assert record.levelname == "INFO"
    assert "could not be checked: An error occurred (AccessDenied)" in record.message
