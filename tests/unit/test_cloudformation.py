"""A stack of CloudFormation's in every state that a run may find it in, and what is said of it; on a stand-in."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from commands.deploy import cloudformation
from commands.deploy.cloudformation import CloudStack
from commands.deploy.template import DeployError, Json

ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/s/1"


@dataclass
class Cloud:
    """CloudFormation with one stack or none, which after a call goes through the states of `then`, one a look."""

    status: str = ""
    then: dict[str, list[str]] = field(default_factory=dict)  # by the call that begins it
    refusal: str = ""  # of a change set
    called: list[str] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)  # the newest first
    given: dict[str, Json] = field(default_factory=dict)  # by call
    also: Json = field(default_factory=dict)  # what DescribeStacks tells besides
    denied: str = ""  # a call
    said: list[str] = field(default_factory=list)
    _coming: Iterator[str] = field(default_factory=lambda: iter(()))

    def describe_stacks(self, StackName: str) -> Json:  # noqa: N803 - as botocore has it
        self.status = next(self._coming, self.status)
        if not self.status or (self.status == "DELETE_COMPLETE" and StackName != ID):
            message = f"Stack with id {StackName} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks")
        stack = {"StackId": ID, "StackStatus": self.status, "Tags": [{"Key": "a", "Value": "1"}], **self.also}
        return {"Stacks": [stack]}

    def get_paginator(self, _: str) -> "Cloud":
        return self

    get_waiter = get_paginator

    def paginate(self, **_: str) -> list[Json]:
        return [{"StackEvents": list(self.events), "Changes": ["one"]}, {"StackEvents": [], "Changes": ["more"]}]

    def wait(self, **_: Any) -> None:
        if self.refusal:
            raise WaiterError("ChangeSetCreateComplete", "failed", {"StatusReason": self.refusal})

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> Json:
            self.called.append(name)
            self.given[name] = given
            if name == self.denied:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "you may not"}}, name)
            self._coming = iter(self.then.get(name, []))
            return {"Id": "change-set", "StackId": ID}

        return call

    @property
    def stack(self) -> CloudStack:
        return CloudStack(self, "s", self.said.append, pause=lambda _: None)


def event(number: int, name: str, status: str, reason: str = "", physical: str = "") -> Json:
    return {
        "EventId": str(number),
        "LogicalResourceId": name,
        "PhysicalResourceId": ID if name == "s" else physical,
        "ResourceType": "AWS::CloudFormation::Stack" if name == "s" else "AWS::Lambda::EventSourceMapping",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


# From any state to one that can be changed

DELETED = {"delete_stack": ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]}
MENDED = {"continue_update_rollback": ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"]}


@pytest.mark.parametrize(
    ("coming", "then", "settled"),
    [
        ([""], {}, ""),
        (["DELETE_COMPLETE"], {}, ""),
        (["REVIEW_IN_PROGRESS"], {}, ""),
        (["CREATE_COMPLETE"], {}, "CREATE_COMPLETE"),
        (["UPDATE_COMPLETE"], {}, "UPDATE_COMPLETE"),
        (["UPDATE_ROLLBACK_COMPLETE"], {}, "UPDATE_ROLLBACK_COMPLETE"),
        (["UPDATE_FAILED"], {}, "UPDATE_FAILED"),
        (["ROLLBACK_COMPLETE"], DELETED, ""),
        (["ROLLBACK_FAILED"], DELETED, ""),
        (["CREATE_FAILED"], DELETED, ""),
        (["DELETE_FAILED"], DELETED, ""),
        (["UPDATE_ROLLBACK_FAILED"], MENDED, "UPDATE_ROLLBACK_COMPLETE"),
        # What a killed run has begun is followed to its end.
        (["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"], {}, "CREATE_COMPLETE"),
        (["UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"], {}, "UPDATE_COMPLETE"),
        (["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"], {}, "UPDATE_ROLLBACK_COMPLETE"),
        (["DELETE_IN_PROGRESS", "DELETE_COMPLETE"], {}, ""),
    ],
)
def test_from_any_state_a_stack_gets_to_one_that_can_be_changed_or_is_gone(
    coming: list[str], then: dict[str, list[str]], settled: str
) -> None:
    cloud = Cloud("-", then, _coming=iter(coming))

    found = cloud.stack.settle()

    assert (found or {}).get("StackStatus", "") == settled
    assert cloud.called == [*then]
    assert len(cloud.said) == len(then) + (len(coming) > 1)
    assert all(coming[0] in line for line in cloud.said)


@pytest.mark.parametrize(
    ("status", "call", "failed", "advice"),
    [
        ("DELETE_FAILED", "delete_stack", "network interface in use", "within 45 minutes"),
        ("UPDATE_ROLLBACK_FAILED", "continue_update_rollback", "KMS key is disabled", "what the key's policy must"),
    ],
)
def test_what_can_still_not_be_mended_is_told_with_its_cause(status: str, call: str, failed: str, advice: str) -> None:
    cloud = Cloud(status, {call: ["UPDATE_IN_PROGRESS", status]})
    cloud.events = [event(2, "Trigger", "UPDATE_FAILED", failed), event(1, "s", "UPDATE_IN_PROGRESS")]

    with pytest.raises(DeployError, match=f"(?s)is {status}.*{failed}.*{advice}"):
        cloud.stack.settle()


@pytest.mark.parametrize(
    "before", [["REVIEW_IN_PROGRESS"], ["ROLLBACK_COMPLETE"], ["CREATE_IN_PROGRESS"] * 2 + ["CREATE_COMPLETE"]]
)
def test_a_stack_in_any_state_is_removed_when_what_goes_on_has_ended(before: list[str]) -> None:
    cloud = Cloud("UPDATE_COMPLETE", DELETED, _coming=iter(before))

    assert cloud.stack.remove()
    assert cloud.called == ["delete_stack"]
    assert not cloud.stack.remove()


# Change sets


def propose(cloud: Cloud) -> Any:
    stack = cloud.stack
    return stack.propose(stack.find(), "https://t", [], {"team": "storage"})["Changes"]


def test_a_change_set_has_all_pages_of_its_changes_and_the_tags_of_before() -> None:
    cloud = Cloud("UPDATE_COMPLETE")

    assert propose(cloud) == ["one", "more"]
    assert cloud.given["create_change_set"]["ChangeSetType"] == "UPDATE"
    assert cloud.given["create_change_set"]["Tags"] == [{"Key": "a", "Value": "1"}, {"Key": "team", "Value": "storage"}]


def test_nothing_to_change_is_no_failure_and_leaves_no_change_set_and_another_reason_is_told() -> None:
    for reason in ("The submitted information didn't contain changes. Submit", "No updates are to be performed."):
        assert propose(cloud := Cloud("UPDATE_COMPLETE", refusal=reason)) == []
        assert cloud.called == ["create_change_set", "delete_change_set"]

    with pytest.raises(DeployError, match="refuses the change of the stack s: Template error: no such thing"):
        propose(Cloud(refusal="Template error: no such thing"))


def changed(action: str, replacement: str = "", *properties: str, physical: str = "") -> Json:
    details = [{"Target": {"Attribute": "Properties", "Name": name}} for name in properties]
    details += [{"Target": {"Attribute": "Tags"}}] if properties else []
    resource = {"Action": action, "LogicalResourceId": "Trigger", "ResourceType": "AWS::Lambda::EventSourceMapping"}
    return {
        "ResourceChange": resource | {"PhysicalResourceId": physical, "Replacement": replacement, "Details": details}
    }


def test_changes_are_told_in_words_and_what_is_replaced_is_said_to_be() -> None:
    changes = [
        changed("Add"),
        changed("Modify", "False", "BatchSize", "BatchSize", physical="arn:x/uuid"),
        changed("Modify", "True", "EventSourceArn", physical="uuid"),
        changed("Modify", "Conditional", physical="uuid"),
        changed("Remove", physical="uuid"),
    ]

    assert list(cloudformation.changes_in_words(changes)) == [
        "create  AWS::Lambda::EventSourceMapping Trigger",
        "change  AWS::Lambda::EventSourceMapping uuid: BatchSize, Tags",
        "change  AWS::Lambda::EventSourceMapping uuid: EventSourceArn, Tags  REPLACED by a new one",
        "change  AWS::Lambda::EventSourceMapping uuid  perhaps REPLACED by a new one",
        "delete  AWS::Lambda::EventSourceMapping uuid",
    ]


def test_a_template_is_compared_without_cloudformation() -> None:
    before = "Resources: {A: {Type: AWS::SQS::Queue}, B: {Type: AWS::SQS::Queue}}"
    after = "Resources: {B: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub 'x'}}, C: {Type: AWS::IAM::Role}}"

    told = ["delete  AWS::SQS::Queue A", "change  AWS::SQS::Queue B", "create  AWS::IAM::Role C"]
    assert list(cloudformation.differences(before, after)) == told
    assert list(cloudformation.differences(before, before)) == []


# What happens


def test_each_resource_that_changes_is_told_of_once_and_counted() -> None:
    cloud = Cloud("UPDATE_COMPLETE", {"execute_change_set": ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]})
    later = [
        event(6, "s", "UPDATE_COMPLETE"),
        event(5, "Other", "UPDATE_COMPLETE", physical="other"),
        event(4, "Trigger", "UPDATE_COMPLETE", physical="uuid"),
        event(3, "Trigger", "UPDATE_IN_PROGRESS", physical="uuid"),
        event(2, "s", "UPDATE_IN_PROGRESS"),
        event(1, "s", "CREATE_COMPLETE"),
    ]
    cloud.events = later[-1:]
    stack = cloud.stack
    stack.pause = lambda _: setattr(cloud, "events", later)

    stack.execute({"StackId": ID, "ChangeSetId": "c", "Changes": [changed("Modify", physical="uuid")]})

    assert cloud.said == ["UPDATE_COMPLETE AWS::Lambda::EventSourceMapping uuid  (1 of 1)"]


def test_the_first_cause_of_a_failure_is_told_and_not_those_that_it_cancelled_nor_an_earlier_runs() -> None:
    back = ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"]
    cloud = Cloud("UPDATE_COMPLETE", {"execute_change_set": back})
    refusal = "User: x is not authorized to perform: lambda:UpdateEventSourceMapping"
    cloud.events = [
        event(9, "s", "UPDATE_ROLLBACK_COMPLETE"),
        event(8, "Last", "UPDATE_FAILED", "it came later"),
        event(7, "Trigger", "UPDATE_FAILED", refusal, "uuid"),
        event(6, "Rule", "UPDATE_FAILED", "Resource update cancelled"),
        event(5, "s", "UPDATE_IN_PROGRESS", "User Initiated"),
        event(4, "Old", "UPDATE_FAILED", "of an earlier run"),
        event(3, "s", "UPDATE_IN_PROGRESS"),
    ]

    with pytest.raises(DeployError) as failure:
        cloud.stack.execute({"StackId": ID, "ChangeSetId": "c", "Changes": []})

    assert str(failure.value).splitlines() == [
        "The stack s is UPDATE_ROLLBACK_COMPLETE.",
        f"First failed: UPDATE_FAILED AWS::Lambda::EventSourceMapping uuid: {refusal}",
        "Your credentials may not do this.",
        "When the cause is gone, run this again: it goes on from here.",
    ]
    assert cloudformation.first_cause(cloud.events[4:5], ID).startswith("It does not say why.")
