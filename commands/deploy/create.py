"""A stack is made, changed or mended, and deleted. What AWS would refuse is refused before anything is written."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from botocore.exceptions import ClientError

from commands.deploy import cloudformation, project_2018
from commands.deploy.buckets import Buckets, Wish
from commands.deploy.cloudformation import CloudStack
from commands.deploy.package import ArtifactBucket, digest, pack
from commands.deploy.template import TEMPLATE, DeployError, Json, environment, parameters, refuse_unless_consistent
from commands.operate.stack import Stack
from event_aggregator.settings import LEAST_ADVISED_INTERVAL_SECONDS

# So begins the status of a stack whose first run came to no end, or that is being deleted.
_NEVER_COMPLETE = ("CREATE_IN_PROGRESS", "CREATE_FAILED", "ROLLBACK", "DELETE")


@dataclass(frozen=True)
class Order:
    """What the flags of create-stack.sh say."""

    given: Mapping[str, str]  # parameters
    tags: Mapping[str, str]
    buckets: list[str]
    wish: Wish
    artifact_bucket: str = ""
    only_change_set: bool = False
    reverts_drift: bool = False


@dataclass
class Deployment:
    """One stack of this project in the account and region of `stack`; `say` is told each step."""

    stack: Stack
    say: Callable[[str], None]
    is_dry: bool = False

    @cached_property
    def buckets(self) -> Buckets:
        buckets = Buckets(self.stack, self.say, self.is_dry)
        if self.stack.prefix and project_2018.owner_of(self.stack, project_2018.AGGREGATOR) == "":
            buckets.replaces = buckets.function_arn.replace(self.stack.aggregator, project_2018.AGGREGATOR)
        return buckets

    @cached_property
    def cloud(self) -> CloudStack:
        """The stack that owns the functions, whoever deployed it; if they are not there, the one that will.

        DeployError if no stack of CloudFormation owns them.
        """
        name = f"s3-event-aggregator{'-' if self.stack.prefix else ''}{self.stack.prefix.replace('_', '-')}"
        for function in (self.stack.refresh, self.stack.aggregator):
            owner = project_2018.owner_of(self.stack, function)
            if owner == "":
                raise DeployError(
                    f"There is a function {function} that no stack of CloudFormation owns: it is of the project of"
                    " 2018 (docs/upgrading-from-2018.md), or of somebody else. Give --name-prefix, for other names."
                )
            name = owner or name
        return CloudStack(self.stack.client("cloudformation"), name, self.say)

    def _find(self) -> Json | None:
        """The stack, if it is there. DeployError if it has another name prefix, which maps to the same stack name."""
        found = self.cloud.find()
        prefix = _parameters_of(found).get("NamePrefix", self.stack.prefix)
        if prefix != self.stack.prefix:
            raise DeployError(f"The stack {self.cloud.name} has another --name-prefix: {prefix}")
        return found

    # Create, or change

    def create(self, order: Order) -> None:
        """Makes the stack as ordered, or changes it, and attaches the buckets that are named, or all again."""
        account, _ = self.stack.caller
        found = self._find()
        in_force = _parameters_of(found)
        attached = self.stack.buckets()
        was_complete = found and not found["StackStatus"].startswith(_NEVER_COMPLETE)
        if not (was_complete or order.buckets or attached):
            raise DeployError("Which bucket? Give --bucket NAME. See --help.")
        given = {**order.given, "NamePrefix": self.stack.prefix}
        if (key := in_force.get("KmsKey")) and given.get("KmsKey", key) != key:  # messages were sent with it
            given.setdefault("EarlierKmsKey", key)
        values = {name: given.get(name, in_force.get(name, one.default)) for name, one in parameters().items()}
        refuse_unless_consistent(values, self.stack.region, account)
        self.stack.variables = environment(values, account)
        for bucket in order.buckets:
            self.buckets.refuse_unless_here(bucket)
            self.buckets.plan(bucket, order.wish)

        self.say(f"Account {account}, region {self.stack.region}, stack {self.cloud.name}")
        interval = min(self.stack.settings.min_refresh_interval_seconds.values())
        if interval < LEAST_ADVISED_INTERVAL_SECONDS:
            asked = "AWS asks for 60 s between two refreshes of a share"
            self.say(f"Warning: {asked}. After {interval} s one may do nothing.")
        if self.is_dry:
            changes = [f"would {line}" for line in self._changes(found, values)]
            self.say("\n".join(changes or [f"keep    stack {self.cloud.name}"]))
        elif not self._deploy(order, given, in_force):
            return
        wishes = dict.fromkeys([*order.buckets, *attached], Wish())  # those that are named first
        wishes |= dict.fromkeys(order.buckets or attached, order.wish)
        self.buckets.attach_all(wishes)
        told = f"Changes in these buckets refresh their file shares: {', '.join(wishes)}"
        attach = self.stack.command("attach-bucket.sh", "--bucket", "B")
        self.buckets.say_done(
            f"Deployed. {told if wishes else f'No bucket is attached: {attach}'}\n"
            f"How it is doing: {self.stack.command('status.sh')}\n"
            f"To remove it:    {self.stack.command('delete-stack.sh')}"
        )

    def _deploy(self, order: Order, given: dict[str, str], in_force: Mapping[str, str]) -> bool:
        """Makes a change set, says what is in it, and carries it out; whether the stack is as ordered."""
        found = self.cloud.settle()
        if not found:  # in force is what an earlier run did not finish, which is gone now
            given = {**in_force, **given}
        bucket = ArtifactBucket(self.stack, order.artifact_bucket or in_force.get("CodeBucket", ""))
        if bucket.make():
            self.say(f"create  bucket {bucket.name}, for the code")
        code, template = bucket.put(*pack()), TEMPLATE.read_bytes()
        url = bucket.url_of(kept := bucket.put(f"template-{digest(template)}.yaml", template))
        given |= {"CodeBucket": bucket.name, "CodeKey": code}
        before = _parameters_of(found)
        values: list[Json] = [
            {"ParameterKey": name, **({"ParameterValue": given[name]} if name in given else {"UsePreviousValue": True})}
            for name in parameters()
            if name in given or name in before
        ]
        mode = {"DeploymentMode": "REVERT_DRIFT"} if order.reverts_drift and found else {}
        change_set = self.cloud.propose(found, url, values, order.tags, **mode)
        changes = change_set["Changes"]
        if not changes:
            self.say(f"keep    stack {self.cloud.name}")
            return not order.only_change_set
        for line in cloudformation.changes_in_words(changes) if found else [f"create  {len(changes)} resources"]:
            self.say(f"to {line}")
        if order.only_change_set:
            execute = f"aws cloudformation execute-change-set --region {self.stack.region} --change-set-name"
            self.say(f"\nNothing was changed. To carry it out: {execute} {change_set['ChangeSetId']}")
            self.say("or run this again without --change-set, which attaches the buckets as well.")
            return False
        self.cloud.execute(change_set)
        bucket.keep_only({code, kept, in_force.get("CodeKey", "")})  # a rollback needs the code before
        return True

    def _changes(self, found: Json | None, values: Mapping[str, str]) -> Iterator[str]:
        """What a run would do with the stack; asks CloudFormation for nothing that writes."""
        if found is None:
            yield f"create  stack {self.cloud.name}, with"
            yield from cloudformation.differences("Resources: {}", TEMPLATE.read_text())
            return
        if found["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"):
            yield f"settle  stack {self.cloud.name}, which is {found['StackStatus']}"
        in_force = _parameters_of(found)
        if in_force.get("CodeKey", "").rpartition("/")[2] != pack()[0]:
            yield "change  the functions' code"
        for name, parameter in parameters().items():
            before, value = in_force.get(name, parameter.default), values[name]
            if before != value:
                yield f"set     {parameter.flag} {before or 'none'} -> {value or 'none'}"
        yield from cloudformation.differences(self.cloud.template(), TEMPLATE.read_text())

    # Delete

    def delete(self, named: list[str]) -> bool:
        """Removes the stack, its notifications on buckets and its code; whether there was anything."""
        found = self._find()
        if found and found.get("EnableTerminationProtection"):
            allow = "aws cloudformation update-termination-protection --no-enable-termination-protection"
            raise DeployError(
                f"The stack {self.cloud.name} has termination protection. Nothing was removed. To allow its deletion:"
                f" {allow} --stack-name {self.cloud.name} --region {self.stack.region}"
            )
        own, attached = ArtifactBucket(self.stack), self.stack.buckets()
        code = _parameters_of(found).get("CodeBucket") or own.name
        self.say(f"Stack {self.cloud.name} in {self.stack.region}")
        if code != own.name:  # only the stack tells it
            remove = f"aws s3 rm --recursive s3://{code}/{own.folder}"
            self.say(f"If this is interrupted when the stack is gone already, remove its code yourself: {remove}")
        # First the buckets: the function's permissions, which go with it, are where they are known from.
        for bucket in sorted({*named, *attached}):
            self.buckets.detach(bucket)
        try:
            was_there = self.cloud.remove()
        except ClientError as error:
            if not attached:
                raise
            flags = [word for bucket in attached for word in ("--bucket", bucket)]
            raise DeployError(
                f"{error}\nThese buckets are detached now: {', '.join(attached)}. When the cause is gone, run this"
                " again: it goes on. If the stack is to stay, attach them again, with the --prefix and --event-source"
                f" that they had: {self.stack.command('attach-bucket.sh', *flags)}"
            ) from error
        for name in dict.fromkeys([code, own.name]):
            try:
                was_there |= ArtifactBucket(self.stack, name).remove()
            except DeployError as error:  # it cannot be seen: it is somebody else's
                self.say(f"skip    {error}")
        return was_there or self.buckets.written > 0


def _parameters_of(stack: Json | None) -> dict[str, str]:
    return {p["ParameterKey"]: p["ParameterValue"] for p in (stack or {}).get("Parameters", [])}
