"""The environment variables of both functions, typed, and checked once when a function starts.

A bad value stops the function with a message that names the variable, the value and the range. S3 events then wait in
Lambda's retries and on the action queue. They are handled when the value is corrected.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# AWS asks for this time between two refreshes of a share (API reference, RefreshCache). An older page of that reference
# says that a refresh before that evicts no cache entries: it may have no effect, although it is reported as complete.
LEAST_ADVISED_INTERVAL_SECONDS = 60

_HALF_A_DAY = 43_200

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SHARE = re.compile(r"share-[0-9A-Za-z]+")
_REGION = re.compile(r"[a-z]+(-[a-z0-9]+)+")
# A pattern has no blank at either end: commas alone separate patterns. Only stars and slashes would match every key.
_KEYS = re.compile(r"(?=.*[^*/])\S(.*\S)?")
# IAM allows these characters in an external ID (API reference, AssumeRole), and the comma, which separates two here.
_EXTERNAL_ID = re.compile(r"[0-9]{12}=[A-Za-z0-9_+=.@:/-]{2,1224}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=.@_/-]+")


class SettingError(ValueError):
    """An environment variable is missing or has a value that cannot be used."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PerName(Generic[T]):
    """A value for all buckets or file shares, and exceptions by name: `30,renders=600`."""

    default: T
    exceptions: Mapping[str, T] = field(default_factory=dict)

    def of(self, name: str) -> T:
        return self.exceptions.get(name, self.default)

    def values(self) -> tuple[T, ...]:
        return self.default, *self.exceptions.values()


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of both functions. Times are whole seconds."""

    table_name: str
    queue_url: str
    refresh_delay_seconds: PerName[int]  # by bucket
    refresh_quiet_seconds: PerName[int]  # by bucket; 0: the delay counts instead
    refresh_max_delay_seconds: PerName[int]  # by bucket
    in_progress_timeout_seconds: int  # 0: the functions do not wait for completion events
    min_refresh_interval_seconds: PerName[int]  # by file share
    refreshes_per_gateway: int  # at one gateway at a time
    refresh_scope: PerName[str]  # by bucket
    ignore_keys: tuple[str, ...]  # patterns of keys whose changes refresh nothing
    gateway_session_name: str  # of the session in which a gateway writes; empty: no writer counts as a gateway
    refresh_other_gateways: str  # auto, on or off
    gateway_regions: tuple[str, ...]  # empty: the function's own region
    gateway_role_arns: tuple[str, ...]  # one for each other account
    gateway_external_ids: Mapping[str, str]  # by account, if the role's trust policy requires one
    visible_events: str  # on or off
    log_level: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings in `environment`. Raises SettingError if one is missing or has a value that cannot be used."""
        queue_url = _required(environment, "QUEUE_URL")
        own_account = queue_url.split("/")[-2:][0]  # its file shares are found without a role
        roles = _listed(environment, "GATEWAY_ROLE_ARNS", _ROLE, "ARNs of roles")
        settings = cls(
            table_name=_required(environment, "TABLE_NAME"),
            queue_url=queue_url,
            refresh_delay_seconds=_numbers(environment, "REFRESH_DELAY_SECONDS", default=30, low=0, high=_HALF_A_DAY),
            refresh_quiet_seconds=_numbers(environment, "REFRESH_QUIET_SECONDS", default=0, low=0, high=_HALF_A_DAY),
            refresh_max_delay_seconds=_numbers(
                environment, "REFRESH_MAX_DELAY_SECONDS", default=900, low=1, high=_HALF_A_DAY
            ),
            in_progress_timeout_seconds=_number(
                environment, "IN_PROGRESS_TIMEOUT_SECONDS", default=3600, low=0, high=86_400
            ),
            min_refresh_interval_seconds=_numbers(
                environment,
                "MIN_REFRESH_INTERVAL_SECONDS",
                default=LEAST_ADVISED_INTERVAL_SECONDS,
                low=1,
                high=3600,
                by_share=True,
            ),
            refreshes_per_gateway=_number(
                environment, "REFRESHES_PER_GATEWAY", default=2, low=1, high=50, of="refreshes"
            ),
            refresh_scope=_per_name(
                environment,
                "REFRESH_SCOPE",
                default="folders",
                read=lambda value: value if value in ("folders", "share") else None,
                what="one of folders, share",
            ),
            ignore_keys=_listed(environment, "IGNORE_KEYS", _KEYS, "patterns that match some keys, such as *.tmp"),
            gateway_session_name=environment.get("GATEWAY_SESSION_NAME", "StorageGateway"),
            refresh_other_gateways=_one_of(
                environment, "REFRESH_OTHER_GATEWAYS", ("auto", "on", "off"), default="auto"
            ),
            gateway_regions=_listed(environment, "GATEWAY_REGIONS", _REGION, "regions, such as eu-west-1"),
            gateway_role_arns=tuple(arn for arn in roles if arn.split(":")[4] != own_account),
            gateway_external_ids=_external_ids(environment),
            visible_events=_one_of(environment, "VISIBLE_EVENTS", ("on", "off"), default="on"),
            log_level=_one_of(environment, "LOG_LEVEL", LOG_LEVELS, default="INFO"),
        )
        accounts = [arn.split(":")[4] for arn in settings.gateway_role_arns]
        if len(accounts) != len(set(accounts)):
            raise SettingError("GATEWAY_ROLE_ARNS holds two roles of one account: keep one of them.")
        if contradictions := list(settings._contradictions()):
            raise SettingError(" ".join(contradictions))
        return settings

    def longest_delay(self, bucket: str) -> int:
        """The longest time from a window's first change until it is due to be closed, in seconds."""
        if self.refresh_quiet_seconds.of(bucket):
            return self.refresh_max_delay_seconds.of(bucket)
        return self.refresh_delay_seconds.of(bucket)

    def lateness(self, bucket: str, share: str, seconds: float, least: float = 1) -> float:
        """The `seconds` that a change took, divided by the time that its window may take, which is at least `least`."""
        return seconds / max(self.longest_delay(bucket), self.min_refresh_interval_seconds.of(share), least)

    def buckets(self) -> tuple[str, ...]:
        """The buckets that are an exception in some setting."""
        settings = (self.refresh_delay_seconds, self.refresh_quiet_seconds, self.refresh_max_delay_seconds)
        named = (*(each.exceptions for each in settings), self.refresh_scope.exceptions)
        return tuple(sorted({bucket for each in named for bucket in each}))

    def _contradictions(self) -> Iterator[str]:
        """The contradictions between the settings of all buckets, and of each exception, and what to change."""
        delay, quiet, longest = self.refresh_delay_seconds, self.refresh_quiet_seconds, self.refresh_max_delay_seconds
        for bucket in ("", *sorted({*quiet.exceptions, *longest.exceptions})):
            if quiet.of(bucket) > longest.of(bucket):
                where = f"Bucket {bucket}: " if bucket else ""
                yield (
                    f"{where}REFRESH_QUIET_SECONDS is {quiet.of(bucket)} and REFRESH_MAX_DELAY_SECONDS is"
                    f" {longest.of(bucket)}, so every window closes before its quiet time is over. Lower the quiet time"
                    " or raise the maximum."
                )
        for bucket, seconds in delay.exceptions.items():
            if quiet.of(bucket):
                yield (
                    f"Bucket {bucket}: REFRESH_DELAY_SECONDS is {seconds}, but REFRESH_QUIET_SECONDS is"
                    f" {quiet.of(bucket)}, which counts instead. Remove the delay, or set the quiet time to 0 for this"
                    " bucket."
                )
        for bucket, seconds in longest.exceptions.items():
            if not quiet.of(bucket):
                yield (
                    f"Bucket {bucket}: REFRESH_MAX_DELAY_SECONDS is {seconds}, but REFRESH_QUIET_SECONDS is 0, and the"
                    " maximum counts only with a quiet time. Remove the maximum, or set a quiet time for this bucket."
                )


def _required(environment: Mapping[str, str], name: str) -> str:
    if value := environment.get(name):
        return value
    raise SettingError(
        f"{name} is not set: set it in the function's environment, or run create-stack.sh --revert-drift."
    )


def _number(  # noqa: PLR0913 - a variable, its default and its range
    environment: Mapping[str, str], name: str, *, default: int, low: int, high: int, of: str = "seconds"
) -> int:
    value = environment.get(name, str(default))
    if (number := _whole(value, low, high)) is not None:
        return number
    raise SettingError(f"{name} is {value!r}: set it to a whole number of {of} from {low} to {high}.")


def _whole(value: str, low: int, high: int) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and low <= int(value) <= high else None


def _numbers(  # noqa: PLR0913 - a variable, its default and its range
    environment: Mapping[str, str], name: str, *, default: int, low: int, high: int, by_share: bool = False
) -> PerName[int]:
    return _per_name(
        environment,
        name,
        default=str(default),
        read=lambda value: _whole(value, low, high),
        what=f"a whole number of seconds from {low} to {high}",
        by_share=by_share,
    )


def _per_name(  # noqa: PLR0913 - a variable, its default and its values
    environment: Mapping[str, str],
    name: str,
    *,
    default: str,
    read: Callable[[str], T | None],
    what: str,
    by_share: bool = False,
) -> PerName[T]:
    """The value and the exceptions in, for example, `30,renders=600`. Raises SettingError that names every bad part."""
    first, *others = environment.get(name, default).split(",")
    value, exceptions = read(first), dict[str, T]()
    bad = [first] if value is None else []
    for part in others:
        who, _, text = part.partition("=")
        own = read(text)
        if own is None or who in exceptions or not (_SHARE if by_share else _BUCKET).fullmatch(who):
            bad.append(part)
        else:
            exceptions[who] = own
    if value is None or bad:
        thing, example = ("file share", "share-1234ABCD") if by_share else ("bucket", "my-bucket")
        raise SettingError(
            f"{name} holds {', '.join(map(repr, bad))}: set it to {what}, followed by ,{example}=VALUE once for each"
            f" {thing} that differs."
        )
    return PerName(value, exceptions)


def _one_of(environment: Mapping[str, str], name: str, choices: tuple[str, ...], *, default: str) -> str:
    value = environment.get(name, default)
    if value in choices:
        return value
    raise SettingError(f"{name} is {value!r}: set it to one of {', '.join(choices)}.")


def _listed(environment: Mapping[str, str], name: str, pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
    """The values of a comma-separated list, without repetitions; none if the variable is empty or not set."""
    values = [value for value in environment.get(name, "").split(",") if value]
    for value in values:
        if not pattern.fullmatch(value):
            raise SettingError(f"{name} holds {value!r}: set it to {what}, separated by commas.")
    return tuple(dict.fromkeys(values))


def _external_ids(environment: Mapping[str, str]) -> dict[str, str]:
    what = "ACCOUNT=ID for each account whose role requires an external ID"
    listed = _listed(environment, "GATEWAY_EXTERNAL_IDS", _EXTERNAL_ID, what)
    ids = {account: external_id for account, _, external_id in (entry.partition("=") for entry in listed)}
    if len(ids) < len(listed):
        raise SettingError("GATEWAY_EXTERNAL_IDS holds two external IDs for one account: keep one of them.")
    return ids
