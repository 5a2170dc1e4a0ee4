"""A stack of CloudFormation's: what it is like now, what would change, and how a change goes on to its end.

Whatever state a killed or failed run left the stack in, `settle` leads it to one from which it can be changed. Nothing
here knows what is in the stack.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError

from commands.deploy.template import Json, parsed, words_of

# An operation begins with one of these of the stack itself; a rollback belongs to what it rolls back.
_BEGINNINGS = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "REVIEW_IN_PROGRESS")
# Nothing can be done with these but to delete them.
_DEAD = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
_NOTHING_CHANGES = re.compile("didn't contain changes|No updates are to be performed")
_SECONDS_BETWEEN_LOOKS = (0.2, 3.0)  # at first, and in the end

# What to do about a cause, by words in it.
_ADVICE = {
    "already exist": "Something else has this name: remove that, or give this stack a --name-prefix.",
    "not authorized|[Aa]ccess ?[Dd]enied": "Your credentials may not do this.",
    "[Kk][Mm][Ss]": "See in docs/security-and-network.md what the key's policy must allow.",
    "ENI|network interface": "Lambda gives network interfaces back within 45 minutes: run this again then.",
}


class DeployError(Exception):
    """CloudFormation could not do it; the message says why, and what to do."""


@dataclass
class CloudStack:
    """The stack of this name; `say` is told each step."""

    client: Any
    name: str
    say: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep
    _told: set[str] = field(default_factory=set)  # ids of events

    def find(self) -> Json | None:
        """The stack as DescribeStacks tells of it; None if there is none, or only a change set of a new one."""
        stack = self._look()
        return stack if stack and stack["StackStatus"] != "REVIEW_IN_PROGRESS" else None

    def _look(self) -> Json | None:
        try:
            [stack] = self.client.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            return None
        return dict(stack) if stack["StackStatus"] != "DELETE_COMPLETE" else None

    def settle(self) -> Json | None:
        """The stack, when it can be changed; None when it is to be created. DeployError: it cannot be brought there."""
        tried: set[str] = set()
        while stack := self.find():
            status = stack["StackStatus"]
            if status in tried:
                raise DeployError(f"The stack {self.name} stays {status}.\n{self.cause(stack['StackId'])}")
            if status.endswith("_IN_PROGRESS"):
                self.say(f"wait    for the stack {self.name}, which is {status}")
                self.follow(stack["StackId"])
                continue
            tried.add(status)
            if status in _DEAD:
                self.say(f"delete  the stack {self.name}, which is {status}: an earlier run came no further")
                self._delete(stack["StackId"])
            elif status == "UPDATE_ROLLBACK_FAILED":
                self.say(f"mend    the stack {self.name}, which is {status}: its rollback goes on")
                self.client.continue_update_rollback(StackName=stack["StackId"])
                self.follow(stack["StackId"])
            else:
                return stack
        return None

    def template(self) -> str:
        """The deployed template's text."""
        return str(self.client.get_template(StackName=self.name, TemplateStage="Original")["TemplateBody"])

    def propose(
        self, stack: Json | None, url: str, values: Sequence[Json], tags: Mapping[str, str], **more: str
    ) -> Json:
        """A change set, when it is ready; its Changes are empty if nothing would change, and then it is deleted."""
        has = {tag["Key"]: tag["Value"] for tag in (stack or {}).get("Tags", [])}
        name = f"deploy-{uuid4().hex[:12]}"
        made = self.client.create_change_set(
            StackName=self.name,
            ChangeSetName=name,
            ChangeSetType="UPDATE" if stack else "CREATE",
            TemplateURL=url,
            Parameters=values,
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=[{"Key": key, "Value": value} for key, value in {**has, **tags}.items()],
            **more,
        )
        for _ in self._looks():
            found = self.client.describe_change_set(ChangeSetName=made["Id"])
            if not found["Status"].endswith(("_IN_PROGRESS", "_PENDING")):
                break
        if found["Status"] == "CREATE_COMPLETE":
            while token := found.get("NextToken"):
                page = self.client.describe_change_set(ChangeSetName=made["Id"], NextToken=token)
                found = {**page, "Changes": found["Changes"] + page["Changes"]}
            return dict(found)
        self.client.delete_change_set(ChangeSetName=made["Id"])
        if not _NOTHING_CHANGES.search(reason := found.get("StatusReason", "")):
            raise DeployError(f"CloudFormation refuses the change of the stack {self.name}: {reason}")
        return {**found, "Changes": []}

    def execute(self, change_set: Json) -> None:
        """Carries the changes out, and follows them to their end. DeployError if that is a rollback."""
        stack = change_set["StackId"]
        self._told |= {event["EventId"] for event in self._events(stack)}
        self.client.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
        self._follow_to(stack, ("CREATE_COMPLETE", "UPDATE_COMPLETE"), logical_ids(change_set["Changes"]))

    def remove(self) -> bool:
        """Deletes the stack, whatever state it is in; whether there was one. DeployError if something of it stays."""
        stack = self._look()
        while stack and stack["StackStatus"].endswith("_IN_PROGRESS") and stack["StackStatus"] != "REVIEW_IN_PROGRESS":
            self.say(f"wait    for the stack {self.name}, which is {stack['StackStatus']}")
            self.follow(stack["StackId"])
            stack = self._look()
        if stack:
            self._delete(stack["StackId"])
        return stack is not None

    def _delete(self, stack_id: str) -> None:
        """Deletes the stack, and follows that to its end. DeployError if something of it stays."""
        self._told |= {event["EventId"] for event in self._events(stack_id)}
        self.client.delete_stack(StackName=stack_id)
        self._follow_to(stack_id, ("DELETE_COMPLETE",))

    def _follow_to(self, stack_id: str, ends: Sequence[str], changing: Set[str] = frozenset()) -> None:
        status = self.follow(stack_id, changing)
        if status not in ends:
            raise DeployError(f"The stack {self.name} is {status}.\n{self.cause(stack_id)}")

    def follow(self, stack_id: str, changing: Set[str] = frozenset()) -> str:
        """Tells of each resource when it is done, until the stack is; the stack's status then.

        `changing`: the names of the resources that are to change, if they are known.
        """
        done: set[str] = set()
        status = "_IN_PROGRESS"
        for _ in self._looks():
            events = [event for event in self._events(stack_id) if event["EventId"] not in self._told]
            for event in reversed(events):
                self._told.add(event["EventId"])
                name, became = event["LogicalResourceId"], event["ResourceStatus"]
                if event["PhysicalResourceId"] == stack_id or became.endswith("_IN_PROGRESS"):
                    continue
                if name in changing:
                    done.add(name)
                    self.say(f"{all_messages(event)}  ({len(done)} of {len(changing)})")
                elif not changing or not became.endswith("_COMPLETE"):
                    self.say(all_messages(event))
            if not status.endswith("_IN_PROGRESS"):
                break
            [stack] = self.client.describe_stacks(StackName=stack_id)["Stacks"]
            status = stack["StackStatus"]
        return str(status)

    def _looks(self) -> Iterator[None]:
        """Again and again, at first in quick succession."""
        seconds, most = _SECONDS_BETWEEN_LOOKS
        while True:
            yield
            self.pause(seconds)
            seconds = min(most, seconds * 1.3)

    def cause(self, stack_id: str) -> str:
        """Why the last operation failed: what went wrong first, and what to do."""
        return first_cause(self._events(stack_id), stack_id)

    def _events(self, stack_id: str) -> list[Json]:
        """Those of the last operation, the newest first."""
        events: list[Json] = []
        for page in self.client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
            for event in page["StackEvents"]:
                events.append(event)
                if event["PhysicalResourceId"] == stack_id and event["ResourceStatus"] in _BEGINNINGS:
                    return events
        return events


def first_cause(events: Sequence[Json], stack_id: str) -> str:
    """What failed first, with what to do; those that were cancelled because of it did not fail by themselves."""
    failed = [
        event
        for event in reversed(events)
        if event["ResourceStatus"].endswith("_FAILED") and event["PhysicalResourceId"] != stack_id
    ]
    causes = [event for event in failed if "cancelled" not in event.get("ResourceStatusReason", "")]
    if not (causes or failed):
        return "It does not say why. When the cause is gone, run this again: it goes on from here."
    first = (causes or failed)[0]
    reason = first.get("ResourceStatusReason", "no reason given")
    advice = [advice for words, advice in _ADVICE.items() if re.search(words, reason)][:1]
    return "\n".join(
        [
            f"First failed: {kind_of(first['ResourceType'])} {first['LogicalResourceId']}"
            f" ({first['PhysicalResourceId'] or 'not made'}): {reason}",
            *advice,
            "When the cause is gone, run this again: it goes on from here.",
        ]
    )


def kind_of(resource_type: str) -> str:
    """AWS::Lambda::EventSourceMapping: event source mapping."""
    return " ".join(words_of(resource_type.rpartition("::")[2])).lower()


def all_messages(event: Json) -> str:
    """What has become of a resource."""
    verb, _, how = event["ResourceStatus"].partition("_")
    name = event["PhysicalResourceId"] or event["LogicalResourceId"]
    failed = f"  FAILED: {event.get('ResourceStatusReason', '')}" if how.endswith("FAILED") else ""
    return f"{verb.lower():<7} {kind_of(event['ResourceType'])} {name.rpartition('/')[2]}{failed}"


def logical_ids(changes: Iterable[Json]) -> set[str]:
    """The names of the resources that a change set would change."""
    return {change["ResourceChange"]["LogicalResourceId"] for change in changes}


def changes_in_words(changes: Iterable[Json]) -> Iterator[str]:
    """What a change set would do, a line each; what is replaced is said to be."""
    verbs = {"Add": "create", "Modify": "change", "Remove": "delete", "Import": "import", "Dynamic": "change"}
    for change in changes:
        resource = change["ResourceChange"]
        name = resource.get("PhysicalResourceId") or resource["LogicalResourceId"]
        told = f"{verbs[resource['Action']]:<7} {kind_of(resource['ResourceType'])} {name.rpartition('/')[2]}"
        names = [
            detail["Target"].get("Name") or detail["Target"]["Attribute"] for detail in resource.get("Details", [])
        ]
        told += f": {', '.join(dict.fromkeys(names))}" if names else ""
        replaced = {"True": "  REPLACED by a new one", "Conditional": "  perhaps REPLACED by a new one"}
        yield told + replaced.get(resource.get("Replacement", ""), "")


def differences(before: str, after: str) -> Iterator[str]:
    """What a template changes on the resources of another, in words: without asking CloudFormation."""
    old, new = (parsed(text)["Resources"] for text in (before, after))
    for name in {**old, **new}:
        verb = "create" if name not in old else "delete" if name not in new else "change"
        if old.get(name) != new.get(name):
            yield f"{verb:<7} {kind_of({**old, **new}[name]['Type'])} {name}"
