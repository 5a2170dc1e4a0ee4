"""A stack of CloudFormation's in every state that a run may find it in, and what is said of it; on a stand-in."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from commands.deploy import cloudformation
from commands.deploy.cloudformation import CloudStack, DeployError
from commands.deploy.template import Json

ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/s/1"


@dataclass
class Cloud:
    """CloudFormation with one stack or none, which after a call goes through the states of `then`, one a look."""

    status: str = ""
    then: dict[str, list[str]] = field(default_factory=dict)  # by the call that begins it
    change_set: Json = field(default_factory=lambda: {"Status": "CREATE_COMPLETE", "Changes": []})
    called: list[str] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)  # the newest first
    given: Json = field(default_factory=dict)
    _coming: Iterator[str] = field(default_factory=lambda: iter(()))

    def describe_stacks(self, StackName: str) -> Json:  # noqa: N803 - as botocore has it
        self.status = next(self._coming, self.status)
        if not self.status or (self.status == "DELETE_COMPLETE" and StackName != ID):
            message = f"Stack with id {StackName} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks")
        return {
            "Stacks": [
                {"StackId": ID, "StackStatus": self.status, "Parameters": [], "Tags": [{"Key": "a", "Value": "1"}]}
            ]
        }

    def get_paginator(self, _: str) -> "Cloud":
        return self

    def paginate(self, **_: str) -> list[Json]:
        return [{"StackEvents": list(self.events)}]

    def describe_change_set(self, NextToken: str = "", **_: str) -> Json:  # noqa: N803
        if NextToken:
            return {"Status": "CREATE_COMPLETE", "Changes": ["more"]}
        return {**self.change_set}

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> Json:
            self.called.append(name)
            self.given = given
            self._coming = iter(self.then.get(name, []))
            return {"Id": "change-set"}

        return call


def stack_on(cloud: Cloud, said: list[str] | None = None) -> CloudStack:
    return CloudStack(cloud, "s", (said if said is not None else []).append, pause=lambda _: None)


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


@pytest.mark.parametrize("status", ["", "REVIEW_IN_PROGRESS", "DELETE_COMPLETE"])
def test_what_is_not_there_or_has_only_a_change_set_is_created(status: str) -> None:
    cloud = Cloud(status)

    assert stack_on(cloud).settle() is None
    assert cloud.called == []


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED"])
def test_what_is_at_rest_is_changed(status: str) -> None:
    cloud = Cloud(status)

    found = stack_on(cloud).settle()

    assert found
    assert found["StackStatus"] == status
    assert cloud.called == []


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"])
def test_what_cannot_be_changed_is_deleted_and_created_anew(status: str) -> None:
    cloud = Cloud(status, {"delete_stack": ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]})
    said: list[str] = []

    assert stack_on(cloud, said).settle() is None
    assert cloud.called == ["delete_stack"]
    assert said == [f"delete  the stack s, which is {status}: an earlier run came no further"]


def test_what_can_still_not_be_deleted_is_told_with_its_cause() -> None:
    cloud = Cloud("DELETE_FAILED", {"delete_stack": ["DELETE_IN_PROGRESS", "DELETE_FAILED"]})
    cloud.events = [
        event(2, "Trigger", "DELETE_FAILED", "network interface in use"),
        event(1, "s", "DELETE_IN_PROGRESS"),
    ]

    with pytest.raises(DeployError, match=r"(?s)is DELETE_FAILED.*network interface in use.*within 45 minutes"):
        stack_on(cloud).settle()


def test_a_rollback_that_failed_is_gone_on_with() -> None:
    done = ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"]
    cloud = Cloud("UPDATE_ROLLBACK_FAILED", {"continue_update_rollback": done})

    found = stack_on(cloud).settle()

    assert found
    assert found["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"


def test_a_rollback_that_fails_again_is_told_with_its_cause() -> None:
    again = ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"]
    cloud = Cloud("UPDATE_ROLLBACK_FAILED", {"continue_update_rollback": again})
    cloud.events = [event(2, "Trigger", "UPDATE_FAILED", "no such queue"), event(1, "s", "UPDATE_IN_PROGRESS")]

    with pytest.raises(DeployError, match=r"(?s)stays UPDATE_ROLLBACK_FAILED.*no such queue"):
        stack_on(cloud).settle()


@pytest.mark.parametrize(
    "status",
    ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS"],
)
def test_what_is_going_on_is_followed_to_its_end(status: str) -> None:
    cloud = Cloud(status, _coming=iter([status, status, "UPDATE_COMPLETE"]))

    found = stack_on(cloud).settle()

    assert found
    assert found["StackStatus"] == "UPDATE_COMPLETE"


def test_a_killed_deletion_is_waited_for_and_then_all_is_created_anew() -> None:
    cloud = Cloud("DELETE_IN_PROGRESS", _coming=iter(["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]))

    assert stack_on(cloud).settle() is None


@pytest.mark.parametrize("status", ["REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "UPDATE_COMPLETE"])
def test_a_stack_in_any_state_is_removed(status: str) -> None:
    cloud = Cloud(status, {"delete_stack": ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]})

    assert stack_on(cloud).remove()
    assert cloud.called == ["delete_stack"]
    assert not stack_on(cloud).remove()


def test_what_is_going_on_ends_before_the_stack_is_removed() -> None:
    cloud = Cloud("CREATE_IN_PROGRESS", {"delete_stack": ["DELETE_COMPLETE"]}, _coming=iter(["CREATE_IN_PROGRESS"] * 2))
    cloud._coming = iter(["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"])

    assert stack_on(cloud).remove()


# Change sets


def propose(cloud: Cloud, stack: Json | None = None) -> Json:
    return stack_on(cloud).propose(stack, "https://t", [], {"team": "storage"})


def test_a_change_set_has_all_pages_of_its_changes_and_the_tags_of_before() -> None:
    cloud = Cloud("UPDATE_COMPLETE", change_set={"Status": "CREATE_COMPLETE", "Changes": ["one"], "NextToken": "t"})

    assert propose(cloud, stack_on(cloud).find())["Changes"] == ["one", "more"]
    assert cloud.given["ChangeSetType"] == "UPDATE"
    assert cloud.given["Tags"] == [{"Key": "a", "Value": "1"}, {"Key": "team", "Value": "storage"}]


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information",
        "No updates are to be performed.",
    ],
)
def test_nothing_to_change_is_no_failure_and_leaves_no_change_set(reason: str) -> None:
    cloud = Cloud("UPDATE_COMPLETE", change_set={"Status": "FAILED", "StatusReason": reason, "Changes": []})

    assert propose(cloud)["Changes"] == []
    assert cloud.called == ["create_change_set", "delete_change_set"]


def test_a_change_set_that_fails_is_told_with_its_reason() -> None:
    cloud = Cloud(change_set={"Status": "FAILED", "StatusReason": "Template error: no such thing", "Changes": []})

    with pytest.raises(DeployError, match="refuses the change of the stack s: Template error: no such thing"):
        propose(cloud)


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
        "create  event source mapping Trigger",
        "change  event source mapping uuid: BatchSize, Tags",
        "change  event source mapping uuid: EventSourceArn, Tags  REPLACED by a new one",
        "change  event source mapping uuid  perhaps REPLACED by a new one",
        "delete  event source mapping uuid",
    ]


def test_a_template_is_compared_without_cloudformation() -> None:
    before = "Resources: {A: {Type: AWS::SQS::Queue}, B: {Type: AWS::SQS::Queue}}"
    after = "Resources: {B: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub 'x'}}, C: {Type: AWS::IAM::Role}}"

    assert list(cloudformation.differences(before, after)) == [
        "delete  queue A",
        "change  queue B",
        "create  role C",
    ]
    assert list(cloudformation.differences(before, before)) == []


# What happens


def test_each_resource_that_changes_is_told_of_once_and_counted() -> None:
    cloud = Cloud("UPDATE_COMPLETE", {"execute_change_set": ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]})
    said: list[str] = []
    cloud.events = [
        event(6, "s", "UPDATE_COMPLETE"),
        event(5, "Other", "UPDATE_COMPLETE", physical="other"),
        event(4, "Trigger", "UPDATE_COMPLETE", physical="uuid"),
        event(3, "Trigger", "UPDATE_IN_PROGRESS", physical="uuid"),
        event(2, "s", "UPDATE_IN_PROGRESS"),
        event(1, "s", "CREATE_COMPLETE"),
    ]
    cloud.events, later = cloud.events[-1:], cloud.events
    stack = stack_on(cloud, said)
    stack.pause = lambda _: setattr(cloud, "events", later)

    stack.execute({"StackId": ID, "ChangeSetId": "c", "Changes": [changed("Modify", physical="uuid")]})

    assert said == ["update  event source mapping uuid  (1 of 1)"]


def test_the_first_cause_of_a_failure_is_told_and_not_those_that_it_cancelled_nor_an_earlier_runs() -> None:
    cloud = Cloud(
        "UPDATE_COMPLETE", {"execute_change_set": ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"]}
    )
    later = [
        event(9, "s", "UPDATE_ROLLBACK_COMPLETE"),
        event(8, "Last", "UPDATE_FAILED", "it came later"),
        event(
            7,
            "Trigger",
            "UPDATE_FAILED",
            "User: x is not authorized to perform: lambda:UpdateEventSourceMapping",
            "uuid",
        ),
        event(6, "Rule", "UPDATE_FAILED", "Resource update cancelled"),
        event(5, "s", "UPDATE_IN_PROGRESS", "User Initiated"),
        event(4, "Old", "UPDATE_FAILED", "of an earlier run"),
        event(3, "s", "UPDATE_IN_PROGRESS"),
    ]
    stack = stack_on(cloud)
    cloud.events = later

    with pytest.raises(DeployError) as failure:
        stack.execute({"StackId": ID, "ChangeSetId": "c", "Changes": []})

    assert str(failure.value).splitlines() == [
        "The stack s is UPDATE_ROLLBACK_COMPLETE.",
        "First failed: event source mapping Trigger (uuid): User: x is not authorized to perform:"
        " lambda:UpdateEventSourceMapping",
        "Your credentials may not do this.",
        "When the cause is gone, run this again: it goes on from here.",
    ]


def test_a_failure_without_a_cause_is_told_too() -> None:
    assert cloudformation.first_cause([event(1, "s", "CREATE_IN_PROGRESS")], ID).startswith("It does not say why.")
