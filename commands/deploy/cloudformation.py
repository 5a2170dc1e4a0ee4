"""A stack of CloudFormation's: what it is like now, what would change, and how a change goes on to its end.

Whatever state a killed or failed run left the stack in, `settle` leads it to one from which it can be changed. Nothing
here knows what is in the stack.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError, WaiterError

from commands.deploy.template import DeployError, Json, parsed

# An operation begins with one of these of the stack itself; a rollback belongs to what it rolls back.
_BEGINNINGS = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "REVIEW_IN_PROGRESS")
# Nothing can be done with these but to delete them.
_DEAD = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
_NOTHING_CHANGES = re.compile("didn't contain changes|No updates are to be performed")
_SECONDS_BETWEEN_LOOKS = 1.0
_ONCE_A_SECOND = {"Delay": 1, "MaxAttempts": 1800}

# What to do about a cause, by words in it.
_ADVICE = {
    "already exist": "Something else has this name: remove that, or give this stack a --name-prefix.",
    "not authorized|[Aa]ccess ?[Dd]enied": "Your credentials may not do this.",
    "[Kk][Mm][Ss]": "See in docs/security-and-network.md what the key's policy must allow.",
    "ENI|network interface": "Lambda gives network interfaces back within 45 minutes: run this again then.",
}


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

    def _at_rest(self) -> Json | None:
        """The stack when nothing goes on in it."""
        while (stack := self._look()) and re.fullmatch("(?!REVIEW).*_IN_PROGRESS", stack["StackStatus"]):
            self.say(f"wait    for the stack {self.name}, which is {stack['StackStatus']}")
            self.follow(stack["StackId"])
        return stack

    def settle(self) -> Json | None:
        """The stack, when it can be changed; None when it is to be created. DeployError: it cannot be brought there."""
        stack = self._at_rest()
        status = stack["StackStatus"] if stack else ""
        if stack and status in _DEAD:
            self.say(f"delete  the stack {self.name}, which is {status}: an earlier run came no further")
            self._carry_out(self.client.delete_stack, stack["StackId"], ("DELETE_COMPLETE",))
        if stack and status == "UPDATE_ROLLBACK_FAILED":
            self.say(f"mend    the stack {self.name}, which is {status}: its rollback goes on")
            self._carry_out(self.client.continue_update_rollback, stack["StackId"], ("UPDATE_ROLLBACK_COMPLETE",))
        return self.find()

    def template(self) -> str:
        """The deployed template's text."""
        return str(self.client.get_template(StackName=self.name, TemplateStage="Original")["TemplateBody"])

    def propose(
        self, stack: Json | None, url: str, values: Sequence[Json], tags: Mapping[str, str], **more: str
    ) -> Json:
        """A change set, when it is ready; its Changes are empty if nothing would change, and then it is deleted."""
        has = {tag["Key"]: tag["Value"] for tag in (stack or {}).get("Tags", [])}
        made = self.client.create_change_set(
            StackName=self.name,
            ChangeSetName=f"deploy-{uuid4().hex[:12]}",
            ChangeSetType="UPDATE" if stack else "CREATE",
            TemplateURL=url,
            Parameters=values,
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=[{"Key": key, "Value": value} for key, value in {**has, **tags}.items()],
            **more,
        )
        proposed, changes = made["Id"], []
        try:
            ready = self.client.get_waiter("change_set_create_complete")
            ready.wait(ChangeSetName=proposed, WaiterConfig=_ONCE_A_SECOND)
            pages = self.client.get_paginator("describe_change_set").paginate(ChangeSetName=proposed)
            changes = [change for page in pages for change in page["Changes"]]
        except WaiterError as error:
            self.client.delete_change_set(ChangeSetName=proposed)
            reason = error.last_response.get("StatusReason", str(error))
            if not _NOTHING_CHANGES.search(reason):
                raise DeployError(f"CloudFormation refuses the change of the stack {self.name}: {reason}") from error
        return {"ChangeSetId": proposed, "StackId": made["StackId"], "Changes": changes}

    def execute(self, change_set: Json) -> None:
        """Carries the changes out, and follows them to their end. DeployError if that is a rollback."""
        begin = partial(self.client.execute_change_set, ChangeSetName=change_set["ChangeSetId"])
        changing = {change["ResourceChange"]["LogicalResourceId"] for change in change_set["Changes"]}
        self._carry_out(begin, change_set["StackId"], ("CREATE_COMPLETE", "UPDATE_COMPLETE"), changing)

    def remove(self) -> bool:
        """Deletes the stack, whatever state it is in; whether there was one. DeployError if something of it stays."""
        if stack := self._at_rest():
            self._carry_out(self.client.delete_stack, stack["StackId"], ("DELETE_COMPLETE",))
        return stack is not None

    def _carry_out(
        self, begin: Callable[..., object], stack_id: str, ends: Sequence[str], changing: Set[str] = frozenset()
    ) -> None:
        self._told |= {event["EventId"] for event in self._events(stack_id)}
        begin(StackName=stack_id)
        status = self.follow(stack_id, changing)
        if status not in ends:
            cause = first_cause(self._events(stack_id), stack_id)
            raise DeployError(f"The stack {self.name} is {status}.\n{cause}")

    def follow(self, stack_id: str, changing: Set[str] = frozenset()) -> str:
        """Tells of each resource when it is done, until the stack is; the stack's status then.

        `changing`: the names of the resources that are to change, if they are known.
        """
        done, status = set[str](), "_IN_PROGRESS"
        while True:
            for event in reversed(self._events(stack_id)):
                name, became = event["LogicalResourceId"], event["ResourceStatus"]
                is_news = event["EventId"] not in self._told and event["PhysicalResourceId"] != stack_id
                self._told.add(event["EventId"])
                if not is_news or became.endswith("_IN_PROGRESS"):
                    continue
                done |= {name} & changing
                if name in changing or not changing or not became.endswith("_COMPLETE"):
                    self.say(in_words(event) + (f"  ({len(done)} of {len(changing)})" if name in changing else ""))
            if not status.endswith("_IN_PROGRESS"):
                return str(status)
            self.pause(_SECONDS_BETWEEN_LOOKS)
            status = self.client.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"]

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
    told = ["It does not say why."]
    for event in events:
        reason = event.get("ResourceStatusReason", "")
        is_own = event["ResourceStatus"].endswith("_FAILED") and event["PhysicalResourceId"] != stack_id
        if is_own and "cancelled" not in reason:
            advice = [do for words, do in _ADVICE.items() if re.search(words, reason)]
            told = [f"First failed: {in_words(event)}", *advice]
    return "\n".join([*told, "When the cause is gone, run this again: it goes on from here."])


def in_words(event: Json) -> str:
    """What has become of a resource."""
    name = event["PhysicalResourceId"] or event["LogicalResourceId"]
    why = f": {event.get('ResourceStatusReason', '')}" if event["ResourceStatus"].endswith("FAILED") else ""
    return f"{event['ResourceStatus']} {event['ResourceType']} {name.rpartition('/')[2]}{why}"


def changes_in_words(changes: Iterable[Json]) -> Iterator[str]:
    """What a change set would do, a line each; what is replaced is said to be."""
    verbs = {"Add": "create", "Remove": "delete"}
    replaced = {"True": "  REPLACED by a new one", "Conditional": "  perhaps REPLACED by a new one"}
    for change in changes:
        resource = change["ResourceChange"]
        name = resource.get("PhysicalResourceId") or resource["LogicalResourceId"]
        targets = [detail["Target"] for detail in resource.get("Details", [])]
        names = ", ".join(dict.fromkeys(target.get("Name") or target["Attribute"] for target in targets))
        what = f"{verbs.get(resource['Action'], 'change')}  {resource['ResourceType']} {name.rpartition('/')[2]}"
        yield what + (f": {names}" if names else "") + replaced.get(resource.get("Replacement", ""), "")


def differences(before: str, after: str) -> Iterator[str]:
    """What a template changes on the resources of another, in words: without asking CloudFormation."""
    old, new = (parsed(text)["Resources"] for text in (before, after))
    for name in {**old, **new}:
        verb = "create" if name not in old else "delete" if name not in new else "change"
        if old.get(name) != new.get(name):
            yield f"{verb}  {(new.get(name) or old[name])['Type']} {name}"
