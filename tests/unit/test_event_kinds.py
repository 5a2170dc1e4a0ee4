"""What buckets report, each kind by each path on which it may come, about a key that tells encodings apart.

The kinds are S3's event types (S3 user guide, notification-how-to-event-types-and-destinations and EventBridge), with
the fields that its samples of them have (notification-content-structure and ev-events).
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from event_aggregator.aggregate import NotFinishedError
from event_aggregator.changes import Change, NoChangeError, read_event
from event_aggregator.observability import timestamp
from tests.unit.conftest import START, World

BUCKET, KEY = "amzn-s3-demo-bucket1", "a+b%2Fc d/x"
ENCODED = "a%2Bb%252Fc+d/x"  # as it stands in a notification
FOLDER = "/a+b%2Fc d"
VERSION = "096fKKXTRTtl3on89fVO.nfljtsv6qko"
ETAG = "d41d8cd98f00b204e9800998ecf8427e"
MARKER = "Delete Marker Created"
FOR_GOOD = "Permanently Deleted"
LIFECYCLE = "s3.amazonaws.com"


# ---- What S3 sends


def record(name: str, at: int = START, principal: str = "AWS:AIDAEXAMPLE", **changed: Any) -> dict[str, Any]:
    """A notification's record. `changed`: other fields of its object, None for one that is not there."""
    about = {"key": ENCODED, "size": 1024, "eTag": ETAG, "sequencer": f"00{at:X}"} | changed
    return {
        "eventVersion": "2.4",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": timestamp(at),
        "eventName": name,
        "userIdentity": {"principalId": principal},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "ours",
            "bucket": {"name": BUCKET, "ownerIdentity": {"principalId": "A3NL1KOZZKExample"}},
            "object": {name: value for name, value in about.items() if value is not None},
        },
    }


def eventbridge(detail_type: str, at: int = START, /, *, about: Any = None, **detail: Any) -> Any:
    """An event of EventBridge's. `about`: other fields of its object, None for one that is not there."""
    thing = {"key": KEY, "size": 1024, "etag": ETAG, "sequencer": f"00{at:X}"} | (about or {})
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": "111122223333",
        "time": timestamp(at).replace(".000Z", "Z"),
        "region": "us-west-2",
        "resources": [f"arn:aws:s3:::{BUCKET}"],
        "detail": {
            "version": "0",
            "bucket": {"name": BUCKET},
            "object": {name: value for name, value in thing.items() if value is not None},
            "request-id": "C3D13FE58DE4C810",
            "requester": "123456789012",
        }
        | detail,
    }


# ---- The paths


def notification(record: Any) -> Any:
    return {"Records": [record]}


def by_sns(event: Any) -> Any:
    return {
        "Records": [
            {
                "EventVersion": "1.0",
                "EventSubscriptionArn": "arn:aws:sns:us-west-2:123456789012:topic:21be56ed-a058-49f5-8c98-aedd2564c486",
                "EventSource": "aws:sns",
                "Sns": {"Type": "Notification", "Subject": "Amazon S3 Notification", "Message": json.dumps(event)},
            }
        ]
    }


def by_sqs(event: Any) -> Any:
    return {
        "Records": [
            {
                "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
                "body": json.dumps(event),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-west-2:123456789012:queue",
                "awsRegion": "us-west-2",
            }
        ]
    }


def by_sns_in_sqs(event: Any) -> Any:
    return by_sqs({"Type": "Notification", "TopicArn": "arn:aws:sns:us-west-2:1:topic", "Message": json.dumps(event)})


def by_sns_in_sqs_raw(event: Any) -> Any:
    """With raw message delivery: what SNS got is the body, and SNS's attributes are the message's."""
    raw = by_sqs(event)
    raw["Records"][0]["messageAttributes"] = {"origin": {"stringValue": "s3", "dataType": "String"}}
    return raw


def as_it_is(event: Any) -> Any:
    return event


PATHS_OF_NOTIFICATIONS: dict[str, Callable[[Any], Any]] = {
    "notification": as_it_is,
    "SNS": by_sns,
    "SQS": by_sqs,
    "SNS in SQS": by_sns_in_sqs,
    "raw delivery": by_sns_in_sqs_raw,
}
PATHS_OF_EVENTBRIDGE: dict[str, Callable[[Any], Any]] = {
    "EventBridge": as_it_is,
    "EventBridge in SQS": by_sqs,
    "EventBridge in SNS": by_sns,
    "EventBridge in SNS in SQS": by_sns_in_sqs,
    "EventBridge in raw delivery": by_sns_in_sqs_raw,
}


# ---- The kinds: in a notification, and on EventBridge

REPLICATION_ROLE = "AWS:AROAEXAMPLE:s3-replication"
# Version 1.1 tells the tags that CloudFormation gave to the bucket.
TAGGED_BUCKET = {"name": BUCKET, "aws-generated-tags": {"aws:cloudformation:stack-name": "amzn-s3-demo-stack"}}
WITHOUT_SIZE = {"size": None, "etag": None}

CHANGES: dict[str, tuple[Any, Any]] = {
    "an upload": (
        record("ObjectCreated:Put"),
        eventbridge("Object Created", reason="PutObject"),
    ),
    "an upload in many parts to a versioned bucket": (
        record("ObjectCreated:CompleteMultipartUpload", versionId=VERSION),
        eventbridge("Object Created", about={"version-id": VERSION}, reason="CompleteMultipartUpload"),
    ),
    "an upload, in events of version 1.1": (
        record("ObjectCreated:Put"),
        eventbridge("Object Created", bucket=TAGGED_BUCKET, **{"event-version": "1.1"}),
    ),
    "a replica": (
        record("ObjectCreated:Put", principal=REPLICATION_ROLE, versionId=VERSION),
        eventbridge("Object Created", about={"version-id": VERSION}, requester=LIFECYCLE),
    ),
    "a deletion in a bucket without versions": (
        record("ObjectRemoved:Delete", size=None, eTag=None),
        eventbridge("Object Deleted", about=WITHOUT_SIZE, reason="DeleteObject", **{"deletion-type": FOR_GOOD}),
    ),
    "a delete marker": (
        record("ObjectRemoved:DeleteMarkerCreated", size=None, versionId=VERSION),
        eventbridge("Object Deleted", about={"size": None, "version-id": VERSION}, **{"deletion-type": MARKER}),
    ),
    "a version that is deleted for good": (
        record("ObjectRemoved:Delete", size=None, eTag=None, versionId=VERSION),
        eventbridge("Object Deleted", about={**WITHOUT_SIZE, "version-id": VERSION}, **{"deletion-type": FOR_GOOD}),
    ),
    "an expiry": (
        record("LifecycleExpiration:Delete", principal=LIFECYCLE, size=None, eTag=None),
        eventbridge("Object Deleted", about=WITHOUT_SIZE, reason="Lifecycle Expiration", **{"deletion-type": FOR_GOOD}),
    ),
    "an expiry that leaves a delete marker": (
        record("LifecycleExpiration:DeleteMarkerCreated", principal=LIFECYCLE, size=None, eTag=None, versionId=VERSION),
        eventbridge("Object Deleted", reason="Lifecycle Expiration", **{"deletion-type": MARKER}),
    ),
}

NO_CHANGES: dict[str, tuple[list[str], list[str]]] = {
    "a restore": (
        ["ObjectRestore:Post", "ObjectRestore:Completed", "ObjectRestore:Delete"],
        ["Object Restore Initiated", "Object Restore Completed", "Object Restore Expired"],
    ),
    "tags": (["ObjectTagging:Put", "ObjectTagging:Delete"], ["Object Tags Added", "Object Tags Deleted"]),
    "an ACL": (["ObjectAcl:Put"], ["Object ACL Updated"]),
    "another storage class": (
        ["LifecycleTransition", "IntelligentTiering"],
        ["Object Storage Class Changed", "Object Access Tier Changed"],
    ),
    "how a replication went": (
        ["Replication:OperationFailedReplication", "Replication:OperationReplicatedAfterThreshold"],
        [],
    ),
}


def by_every_path(notifications: list[Any], events: list[Any]) -> list[Any]:
    of_notifications = [path(notification(one)) for path in PATHS_OF_NOTIFICATIONS.values() for one in notifications]
    return of_notifications + [path(event) for path in PATHS_OF_EVENTBRIDGE.values() for event in events]


@pytest.mark.parametrize("path", PATHS_OF_NOTIFICATIONS)
@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_read_from_a_notification(kind: str, path: str) -> None:
    told, _ = CHANGES[kind]
    principal = told["userIdentity"]["principalId"]

    event = PATHS_OF_NOTIFICATIONS[path](notification(told))

    assert read_event(event) == ([Change(BUCKET, KEY, START, principal, f"00{START:X} {KEY}")], [])


@pytest.mark.parametrize("path", PATHS_OF_EVENTBRIDGE)
@pytest.mark.parametrize("kind", CHANGES)
def test_the_same_change_is_read_from_an_event_of_eventbridges(kind: str, path: str) -> None:
    _, told = CHANGES[kind]

    event = PATHS_OF_EVENTBRIDGE[path](told)

    assert read_event(event) == ([Change(BUCKET, KEY, START + 999, "", f"00{START:X} {KEY}")], [])


@pytest.mark.parametrize("kind", NO_CHANGES)
def test_what_changes_no_listing_tells_of_nothing_by_whatever_path(kind: str) -> None:
    names, detail_types = NO_CHANGES[kind]
    notifications = [record(f"{start}{name}", sequencer=None) for name in names for start in ("", "s3:")]
    events = [eventbridge(detail_type, about={"sequencer": None}) for detail_type in detail_types]

    for event in by_every_path(notifications, events):
        assert read_event(event) == ([], [])


@pytest.mark.parametrize("name", ["ObjectCreated:Put", "ObjectRemoved:Delete", "LifecycleExpiration:Delete"])
def test_the_name_of_a_change_may_have_s3_before_it(name: str) -> None:
    assert read_event(notification(record(f"s3:{name}"))) == read_event(notification(record(name)))


def test_the_three_events_of_one_upload_open_one_window_by_whatever_path(world: World) -> None:
    written = [
        (START, "ObjectCreated:Put"),
        (START + 1_000, "ObjectCreated:Copy"),
        (START + 2_000, "ObjectCreated:Put"),
    ]
    notifications = [record(name, at) for at, name in written]
    events = [eventbridge("Object Created", at) for at, _ in written]

    for event in by_every_path(notifications, events):
        world.aggregator.aggregate_event(event, 30_000)  # each in a cold container

    assert len(world.sent) == 1
    assert world.item(BUCKET).folders == {FOLDER}


# ---- What CloudTrail reports to EventBridge


def call(name: str = "PutObject", **changed: Any) -> Any:
    """As CloudTrail reports a call about an object (CloudTrail user guide, cloudtrail-event-reference-record-contents).

    `changed`: other fields of the record.
    """
    report = {
        "eventVersion": "1.08",
        "userIdentity": {"type": "AssumedRole", "principalId": "AROAEXAMPLE:StorageGateway"},
        "eventTime": timestamp(START).replace(".000Z", "Z"),
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "requestParameters": {"bucketName": BUCKET, "Host": f"{BUCKET}.s3.us-west-2.amazonaws.com", "key": KEY},
        "responseElements": None,
        "requestID": "FNQMP9GW6T92Y09S",
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": False,
        "eventCategory": "Data",
    }
    return {
        "version": "0",
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.s3",
        "time": report["eventTime"],
        "resources": [],
        "detail": report | changed,
    }


OF_SERVICE = {"detail-type": "AWS Service Event via CloudTrail"}
ON_ACCESS_POINT = {"bucketName": "arn:aws:s3:us-west-2:123456789012:accesspoint/point", "key": KEY}
ON_ALIAS = {"bucketName": "point-1a-s3alias", "key": KEY}

NO_CHANGES_OF_CLOUDTRAIL: dict[str, Any] = {
    "a read": call("GetObject", readOnly=True),
    "a part of an upload": call("UploadPart"),
    "tags": call("PutObjectTagging"),
    "a bucket's policy": call("PutBucketPolicy", managementEvent=True, requestParameters={"bucketName": BUCKET}),
    "a list of buckets": call("ListBuckets", readOnly=True, requestParameters=None),
    "what a service did by itself": call("PutBucketPolicy", managementEvent=True, requestParameters=None) | OF_SERVICE,
}
CHANGES_OF_NOBODY_KNOWS_WHAT: dict[str, tuple[Any, str]] = {
    "many deletions": (call("DeleteObjects", requestParameters={"bucketName": BUCKET, "delete": ""}), "keys"),
    "no parameters": (call(requestParameters=None), "the bucket's name"),
    "an access point": (call(requestParameters=ON_ACCESS_POINT), "the bucket's name"),
    "an alias of an access point": (call(requestParameters=ON_ALIAS), "the bucket's name"),
}


@pytest.mark.parametrize("path", PATHS_OF_EVENTBRIDGE)
@pytest.mark.parametrize("name", ["PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject", "ShrinkObject"])
def test_a_write_that_cloudtrail_reports_is_a_change_by_whoever_wrote(name: str, path: str) -> None:
    changes, problems = read_event(PATHS_OF_EVENTBRIDGE[path](call(name)))

    assert problems == []
    assert [(change.bucket, change.key, change.time) for change in changes] == [(BUCKET, KEY, START + 999)]
    assert [change.role_of("StorageGateway") for change in changes] == ["AROAEXAMPLE"]


def test_two_calls_about_a_key_are_two_changes_and_a_report_that_comes_twice_is_one() -> None:
    reports = [call(), call(), call(requestID="another")]

    (first,), (again,), (other,) = (read_event(report)[0] for report in reports)

    assert first.identity == again.identity != other.identity


def test_a_call_by_nobody_known_is_a_change() -> None:
    [change], _ = read_event(call(userIdentity={"type": "AWSService", "invokedBy": "s3.amazonaws.com"}))

    assert change.principal == ""


@pytest.mark.parametrize("path", PATHS_OF_EVENTBRIDGE)
def test_a_call_that_failed_tells_of_nothing(path: str) -> None:
    assert read_event(PATHS_OF_EVENTBRIDGE[path](call(errorCode="AccessDenied"))) == ([], [])


@pytest.mark.parametrize("path", PATHS_OF_EVENTBRIDGE)
@pytest.mark.parametrize("kind", NO_CHANGES_OF_CLOUDTRAIL)
def test_a_call_that_changes_no_listing_is_named_with_the_rule_to_use(kind: str, path: str) -> None:
    report = NO_CHANGES_OF_CLOUDTRAIL[kind]

    changes, [problem] = read_event(PATHS_OF_EVENTBRIDGE[path](report))

    assert changes == []
    assert isinstance(problem, NoChangeError)
    assert str(problem).startswith(f"CloudTrail reports {report['detail']['eventName']}")
    assert "detail-type Object Created or Object Deleted" in str(problem)


def test_a_call_that_changes_no_listing_is_told_once_in_a_container_and_let_go(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    container = world.aggregator

    for key in ("a", "b", "c"):
        read = call("GetObject", readOnly=True, requestParameters={"bucketName": BUCKET, "key": key})
        container.aggregate_event(read, 30_000)
        container.aggregate_event(by_sqs(read), 30_000)

    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"CloudTrail reports GetObject on the bucket {BUCKET}, which changes no listing. ")
    assert world.sent == []


def test_a_call_that_changes_no_listing_does_not_hide_the_change_beside_it(world: World) -> None:
    both = {"Records": [by_sqs(event)["Records"][0] for event in (call("GetObject", readOnly=True), call())]}
    world.settings["GATEWAY_SESSION_NAME"] = ""

    world.aggregator.aggregate_event(both, 30_000)

    assert world.item(BUCKET).folders == {FOLDER}


@pytest.mark.parametrize("kind", CHANGES_OF_NOBODY_KNOWS_WHAT)
def test_a_call_that_does_not_say_what_it_changed_fails_in_a_sentence_with_the_rule_to_use(
    world: World, kind: str
) -> None:
    report, missing = CHANGES_OF_NOBODY_KNOWS_WHAT[kind]

    with pytest.raises(NotFinishedError, match=rf"^CloudTrail reports \w+.* without {missing}\. Change the"):
        world.aggregator.aggregate_event(report, 30_000)
