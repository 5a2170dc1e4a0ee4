"""A stack is made, changed or mended, and deleted. What AWS would refuse is refused before anything is written."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from commands.deploy import cloudformation, of_2018
from commands.deploy.buckets import Buckets, Wish
from commands.deploy.cloudformation import CloudStack
from commands.deploy.package import ArtifactBucket, digest, pack
from commands.deploy.template import TEMPLATE, Json, RefusedError, environment, parameters, refuse_unless_consistent
from commands.operate.stack import Stack
from event_aggregator.settings import LEAST_ADVISED_INTERVAL_SECONDS

_CONSOLES = {
    "aws": "{region}.console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-eusc": "{region}.console.amazonaws-eusc.eu",
}


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
    def _caller(self) -> tuple[str, str]:
        """The account and the partition."""
        identity = self.stack.client("sts").get_caller_identity()
        return identity["Account"], identity["Arn"].split(":")[1]

    @cached_property
    def buckets(self) -> Buckets:
        buckets = Buckets(self.stack, *self._caller, self.say, self.is_dry)
        if self.stack.prefix and of_2018.owner_of(self.stack.client("lambda"), of_2018.AGGREGATOR) == "":
            buckets.replaces = buckets.function_arn.replace(self.stack.aggregator, of_2018.AGGREGATOR)
        return buckets

    @cached_property
    def cloud(self) -> CloudStack:
        """The stack that owns the functions, whoever deployed it; if they are not there, the one that will."""
        name = f"s3-event-aggregator{'-' if self.stack.prefix else ''}{self.stack.prefix.replace('_', '-')}"
        return CloudStack(self.stack.client("cloudformation"), self._owner() or name, self.say)

    def _owner(self) -> str:
        """The stack of CloudFormation that owns the functions; RefusedError if none does."""
        for function in (self.stack.aggregator, self.stack.refresh):
            owner = of_2018.owner_of(self.stack.client("lambda"), function)
            if owner == "":
                raise RefusedError(
                    f"There is a function {function} that no stack of CloudFormation owns: it is of the project of"
                    " 2018, or of somebody else. Give --name-prefix, so that this stack has names of its own; how to"
                    " move to it, and to remove the old one, is in docs/upgrading-from-2018.md."
                )
            if owner:
                return owner
        return ""

    # Create, or change

    def create(self, order: Order) -> None:
        """Makes the stack as ordered, or changes it, and attaches the buckets that are named, or all again."""
        account, _ = self._caller
        found = self.cloud.find()
        in_force = _parameters_of(found)
        if in_force.get("NamePrefix", self.stack.prefix) != self.stack.prefix:
            raise RefusedError(f"The stack {self.cloud.name} has another --name-prefix: {in_force['NamePrefix']}")
        if not (found or order.buckets):
            raise RefusedError("Which bucket? Give --bucket NAME. See --help.")
        attached = self.buckets.attached()
        given = {**_with_earlier_key(order.given, in_force), "NamePrefix": self.stack.prefix}
        values = {name: given.get(name, in_force.get(name, one.default)) for name, one in parameters().items()}
        refuse_unless_consistent(values, self.stack.region, account)
        self.stack.variables = environment({**values, "Account": account})
        for bucket in order.buckets:
            self.buckets.refuse_unless_here(bucket)
            self.buckets.plan(bucket, order.wish)

        self.say(f"Account {account}, region {self.stack.region}, stack {self.cloud.name}")
        if self.is_dry:
            self._tell(found, in_force, values)
        elif not self._deploy(order, given, in_force):
            return
        buckets = sorted({*order.buckets, *attached})
        self._attach(buckets, order)
        self._say_what_is_there(buckets)

    def _attach(self, buckets: list[str], order: Order) -> None:
        """Each of them, whatever keeps another from it. RefusedError for those that it is kept from."""
        refused = []
        for bucket in buckets:
            is_meant = not order.buckets or bucket in order.buckets  # by the flags: they name it, or name none
            try:
                self.buckets.attach(bucket, order.wish if is_meant else Wish())
            except RefusedError as error:
                refused.append(str(error))
        if refused:
            raise RefusedError("\n".join([*refused, "Everything else is in place."]))

    def _deploy(self, order: Order, given: dict[str, str], in_force: Mapping[str, str]) -> bool:
        """Makes a change set, says what is in it, and carries it out; whether the stack is as ordered."""
        found = self.cloud.settle()
        known = _parameters_of(found)
        if not found:  # of a stack that an earlier run did not finish, which is gone now
            given = {**{name: value for name, value in in_force.items() if name in parameters()}, **given}
        bucket = self._artifacts(order.artifact_bucket or in_force.get("CodeBucket", ""))
        if bucket.make():
            self.say(f"create  bucket {bucket.name}, for the code")
        zip_ = pack()
        code = bucket.put(zip_.name, zip_.read_bytes())
        template = bucket.put(f"template-{digest(TEMPLATE.read_bytes())}.yaml", TEMPLATE.read_bytes())
        given |= {"CodeBucket": bucket.name, "CodeKey": code}
        before = [
            {"ParameterKey": name, "UsePreviousValue": True} for name in known.keys() & parameters() - given.keys()
        ]
        now = [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]
        more = {"DeploymentMode": "REVERT_DRIFT"} if order.reverts_drift and found else {}
        change_set = self.cloud.propose(found, bucket.url_of(template), [*now, *before], order.tags, **more)
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
        bucket.keep_only({code, template, in_force.get("CodeKey", "")})  # a rollback needs the code before
        return True

    def _artifacts(self, named: str) -> ArtifactBucket:
        return ArtifactBucket.of(self.stack.client("s3"), self._caller[0], self.stack.prefix, named)

    def _tell(self, found: Json | None, in_force: Mapping[str, str], values: Mapping[str, str]) -> None:
        """What a run would do with the stack; asks CloudFormation for nothing that writes."""
        if found is None:
            self.say(f"would create  stack {self.cloud.name}, with")
            for line in cloudformation.differences("Resources: {}", TEMPLATE.read_text()):
                self.say(f"  {line}")
            return
        if found["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"):
            self.say(f"would settle  stack {self.cloud.name}, which is {found['StackStatus']}")
        changes = list(self._changes(in_force, values))
        for line in changes or [f"keep    stack {self.cloud.name}"]:
            self.say(f"would {line}" if changes else line)

    def _changes(self, in_force: Mapping[str, str], values: Mapping[str, str]) -> Iterator[str]:
        for name, value in values.items():
            before = in_force.get(name, parameters()[name].default)
            if name == "CodeKey" and before != value:
                yield "change  the functions' code"
            elif before != value:
                yield f"set     {parameters()[name].flag} {before or 'none'} -> {value or 'none'}"
        yield from cloudformation.differences(self.cloud.template(), TEMPLATE.read_text())

    def _say_what_is_there(self, watched: list[str]) -> None:
        interval = min(self.stack.settings.min_refresh_interval_seconds.values())
        if interval < LEAST_ADVISED_INTERVAL_SECONDS:
            self.say(
                f"\nWarning: --min-refresh-interval-seconds is {interval}, and AWS asks for 60 s between two refreshes"
                " of a share. By an older page of its reference an earlier one may do nothing: the share stays stale."
            )
        if self.is_dry:
            self.say("\nNothing was changed.")
            return
        region, partition = self.stack.region, self._caller[1]
        console = _CONSOLES.get(partition, "").format(region=region)
        dashboard = f"{self.stack.aggregator}-{region}"
        self.say(f"\nDeployed. Changes in these buckets refresh their file shares: {', '.join(watched)}")
        self.say(f"Logs:   aws logs tail /aws/lambda/{self.stack.aggregator} --follow --region {region}")
        self.say(f"        aws logs tail /aws/lambda/{self.stack.refresh} --follow --region {region}")
        if console:  # that of another partition is not known here
            self.say(f"Graphs: https://{console}/cloudwatch/home?region={region}#dashboards/dashboard/{dashboard}")
        self.say(f"Remove: {self.stack.command('delete-stack.sh')}")

    # Delete

    def delete(self, named: list[str]) -> bool:
        """Removes the stack, its notifications on buckets and its code; whether there was anything."""
        code = _parameters_of(self.cloud.find()).get("CodeBucket", "")
        # First the buckets: the function's permissions, which go with it, are where they are known from.
        for bucket in sorted({*named, *self.buckets.attached()}):
            self.buckets.detach(bucket)
        was_there = self.cloud.remove()
        own = self._artifacts("")
        had_code = [self._artifacts(name).remove() for name in {code or own.name, own.name}]
        return was_there or any(had_code) or self.buckets.written > 0

    def delete_2018(self) -> None:
        if not of_2018.delete(self.stack, *self._caller, self.say, is_dry=self.is_dry):
            self.say("There is nothing of 2018.")


def _parameters_of(stack: Json | None) -> dict[str, str]:
    return {p["ParameterKey"]: p["ParameterValue"] for p in (stack or {}).get("Parameters", [])}


def _with_earlier_key(given: Mapping[str, str], in_force: Mapping[str, str]) -> dict[str, str]:
    """With another key, or none, the roles may use the one before on, for messages that were sent with it."""
    before = in_force.get("KmsKey", "")
    if before and given.get("KmsKey", before) != before:
        return {"EarlierKmsKey": before, **given}
    return dict(given)
