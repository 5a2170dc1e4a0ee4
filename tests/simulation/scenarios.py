"""What can happen in a run, and the small scenarios of which every schedule is run, each made for one way in which a
change could be lost."""

from dataclasses import dataclass
from functools import cached_property

from event_aggregator.settings import Settings

SECOND = 1_000  # milliseconds, the unit of every time here

HOME = "us-east-1"  # where the functions are


@dataclass(frozen=True, slots=True)
class Event:
    """S3 writes `keys` at `at`, counted from the start; the event is delivered each of `after` later.

    `through`: the share, if a gateway writes them.
    """

    at: int
    keys: tuple[str, ...]
    after: tuple[int, ...] = (0,)
    bucket: str = "my-bucket"
    through: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    name: str
    prefix: str = ""
    refresh_takes: int = 5 * SECOND
    bucket: str = "my-bucket"
    # In these milliseconds after the start it cannot be refreshed.
    unavailable: tuple[int, int] = (0, 0)
    uncached: str = ""  # a folder that it refuses to refresh by name
    role_of: str = ""  # the share whose role it has, if not one of its own
    place: str = HOME  # its region, and in another account than the functions' that as well: eu-west-1:222222222222

    @property
    def arn(self) -> str:
        region, _, account = self.place.partition(":")
        return f"arn:aws:storagegateway:{region}:{account or '123456789012'}:share/{self.name}"

    @property
    def away(self) -> str:
        return "" if self.place == HOME else self.place

    @property
    def key(self) -> str:
        """Its key in the table."""
        return "/".join(filter(None, (self.bucket, self.away, self.name)))

    @property
    def role(self) -> str:
        account = self.place.partition(":")[2] or "123456789012"
        return f"arn:aws:iam::{account}:role/{self.role_of or self.name}"


@dataclass(frozen=True)
class Scenario:
    """Everything that is not the scheduler's to decide."""

    events: tuple[Event, ...]
    shares: tuple[Share, ...] = (Share("share-1"),)
    aggregators: tuple[int, ...] = (0, 0)  # containers, each by how far its clock is ahead, in ms
    refreshers: tuple[int, ...] = (0,)
    settings: tuple[tuple[str, str], ...] = ()
    retries: tuple[int, ...] = (60 * SECOND, 120 * SECOND)  # Lambda invokes a failed function again after these
    completion_events: bool = True

    @cached_property
    def read_settings(self) -> Settings:
        return Settings.read({"TABLE_NAME": "windows", "QUEUE_URL": "queue"} | dict(self.settings))

    @cached_property
    def places(self) -> tuple[str, ...]:
        """All that the settings name."""
        settings = self.read_settings
        accounts = ("", *(arn.split(":")[4] for arn in settings.gateway_role_arns))
        return tuple(
            f"{region}:{account}" if account else region
            for account in accounts
            for region in settings.gateway_regions or (HOME,)
        )

    @property
    def interval(self) -> int:
        return self.read_settings.min_refresh_interval_seconds * SECOND

    @property
    def longest_delay(self) -> int:
        """From a window's first change to its refresh."""
        settings = self.read_settings
        if settings.refresh_quiet_seconds:
            return settings.refresh_max_delay_seconds * SECOND
        return settings.refresh_delay_seconds * SECOND

    @property
    def max_skew(self) -> int:
        clocks = (0, *self.aggregators, *self.refreshers)
        return max(clocks) - min(clocks)


DELAY = ("REFRESH_DELAY_SECONDS", "20")
QUIET = (("REFRESH_QUIET_SECONDS", "10"), ("REFRESH_MAX_DELAY_SECONDS", "60"))
SOON = (2 * SECOND, 5 * SECOND)  # Lambda retries while the window's lease holds


def scenario(
    *events: Event,
    settings: tuple[tuple[str, str], ...] = (DELAY,),
    aggregators: tuple[int, ...] = (0, 0),
    refreshers: tuple[int, ...] = (0,),
    shares: tuple[Share, ...] = (Share("share-1"),),
    retries: tuple[int, ...] = (60 * SECOND, 120 * SECOND),
) -> Scenario:
    return Scenario(events, shares, aggregators, refreshers, settings, retries)


def at(seconds: float, *keys: str, after: tuple[int, ...] = (0,)) -> Event:
    return Event(round(seconds * SECOND), keys, after)


# Two changes in one window, or in two if the second is late.
TWO_CHANGES = scenario(at(0, "a/1"), at(5, "b/1"))
# In two windows, the second due within the interval.
TWO_WINDOWS = scenario(at(0, "a/1"), at(25, "b/1"))
# The same, their functions tried again while the lease of the window holds.
RETRIED_SOON = scenario(at(0, "a/1"), at(0, "b/1"), retries=SOON)
# Of the same folder, so that a memo can absorb the second.
SAME_FOLDER = scenario(at(0, "a/1"), at(0, "a/2"), retries=SOON)
# The second comes when the window is due.
AT_THE_CLOSE = scenario(at(0, "a/1"), at(20, "a/2"))
# The second comes during the refresh of the first, whose message comes again only after the second's window is due.
DURING_THE_REFRESH = scenario(at(0, "a/1"), at(21, "b/1"), refreshers=(0, 0))
# No delay: everything happens at once.
NO_DELAY = scenario(at(0, "a/1"), at(0, "b/1"), refreshers=(0, 0), settings=(("REFRESH_DELAY_SECONDS", "0"),))
# The first is delivered twice.
DUPLICATE = scenario(at(0, "a/1", after=(0, 0)), retries=SOON)
# The first is delivered again long after its refresh.
LATE_DUPLICATE = scenario(at(0, "a/1", after=(0, 40 * SECOND)))
# One that fails for good.
FAILS_FOR_GOOD = scenario(at(0, "a/1"), aggregators=(0,), retries=SOON)
# The refresh is complete at once, perhaps before it is known to be accepted; the next waits for the interval.
COMPLETE_AT_ONCE = scenario(
    at(0, "a/1"), at(25, "b/1"), aggregators=(0,), refreshers=(0, 0), shares=(Share("share-1", refresh_takes=0),)
)
# It is complete just when the next window is due.
COMPLETE_WHEN_DUE = scenario(
    at(0, "a/1"),
    at(60, "b/1"),
    aggregators=(0,),
    refreshers=(0, 0),
    shares=(Share("share-1", refresh_takes=60 * SECOND),),
)
# ... and when the one after that is due, while one waits.
COMPLETE_WHEN_NEXT_IS_DUE = scenario(
    at(0, "a/1"),
    at(60, "b/1"),
    at(84, "c/1"),
    aggregators=(0,),
    refreshers=(0, 0),
    shares=(Share("share-1", refresh_takes=84 * SECOND),),
)
# A hand-over to a waiting share dies, and the next window takes its folders over.
HAND_OVER_DIES = scenario(
    at(0, "a/1"), at(25, "b/1"), at(50, "c/1"), aggregators=(0,), refreshers=(0, 0), settings=(DELAY,)
)
# Refreshes that take longer than the interval.
LONG_REFRESH = scenario(at(0, "a/1"), at(70, "b/1"), shares=(Share("share-1", refresh_takes=200 * SECOND),))
# Two shares, one on a prefix, and one that is not there for a while.
THREE_SHARES = scenario(
    at(0, "a/b/1"),
    at(25, "c/1"),
    shares=(Share("share-1"), Share("share-2", "a/"), Share("share-3", unavailable=(0, 100 * SECOND))),
)
# A window that is moved later by each change.
QUIET_WINDOW = scenario(at(0, "a/1"), at(3.5, "a/2"), at(14, "a/3"), at(16.2, "a/4"), settings=QUIET)
QUIET_AT_THE_CLOSE = scenario(at(0, "a/1"), at(13, "a/2"), at(14, "a/3"), settings=QUIET, aggregators=(0,))
# A change after RefreshAt (12.5 s) and before its request, whose delay is in whole seconds.
BEFORE_THE_REQUEST = scenario(at(0, "a/1"), at(12.7, "a/2"), settings=(("REFRESH_QUIET_SECONDS", "10"),))
# The clock of the refresh function is ahead; or that of an aggregator behind.
REFRESHER_AHEAD = scenario(at(0, "a/1"), at(20.5, "a/2"), refreshers=(900,))
AGGREGATOR_BEHIND = scenario(at(0, "a/1"), at(5, "a/2"), at(20.3, "a/3"), aggregators=(0, -900))
# What is put into a window that was opened before the share's last refresh, and after it.
JOINED_AFTER_THE_REFRESH = scenario(at(0, "a/1"), at(21, "a/2"), at(70, "a/3"), at(85, "a/4"), aggregators=(0,))
# A gateway that refuses a folder that it has not cached.
UNCACHED_FOLDER = scenario(at(0, "a/1"), shares=(Share("share-1", uncached="a"),))
# Written through one of two shares, while somebody else writes as well.
WRITTEN_THROUGH = scenario(
    Event(0, ("a/1",), through="share-1"),
    at(5, "b/1"),
    aggregators=(0,),
    shares=(Share("share-1"), Share("share-2")),
    retries=SOON,
)
# ... through one of two that have one role.
ONE_ROLE = scenario(
    Event(0, ("a/1",), through="share-2"),
    aggregators=(0,),
    shares=(Share("share-1"), Share("share-2", role_of="share-1")),
)
# ... through the only one.
NO_OTHER_SHARE = scenario(Event(0, ("a/1",), through="share-1"), Event(5 * SECOND, ("b/1",), through="share-1"))
DEEP_FOLDER = scenario(at(0, "a/b/c/1"))
MANY_FOLDERS = scenario(at(0, *(f"f{number}/1" for number in range(60))))
TOO_MANY_FOLDERS = scenario(
    *(at(start / 50, *(f"f{number}/1" for number in range(start, start + 50))) for start in (0, 50, 100, 150)),
    aggregators=(0,),
)
LONG_DELAY = scenario(at(0, "a/1"), settings=(("REFRESH_DELAY_SECONDS", "1000"),))
# A share in each of two regions, with one id. The list of each region may fail, or be denied for any while.
REGIONS = ("GATEWAY_REGIONS", "us-east-1,eu-west-1")
IN_TWO_REGIONS = (Share("share-1"), Share("share-1", place="eu-west-1"))
TWO_REGIONS = scenario(at(0, "a/1"), aggregators=(0,), settings=(DELAY, REGIONS), shares=IN_TWO_REGIONS)
# The second change comes while the first may wait for a region.
WAITS_FOR_A_REGION = scenario(
    at(0, "a/1"), at(25, "b/1"), aggregators=(0,), settings=(DELAY, REGIONS), shares=IN_TWO_REGIONS
)
# A share of another region has refused for so long that its tries are many, when its region denies the list once.
AWAY_AND_OFFLINE = scenario(
    at(0, "a/1"),
    aggregators=(0,),
    settings=(DELAY, REGIONS),
    shares=(Share("share-1"), Share("share-2", place="eu-west-1", unavailable=(0, 1000 * SECOND))),
)
# The share of the other region is asked for the second as soon as its interval has passed: no event tells of its end.
LONG_REFRESH_AWAY = scenario(
    at(0, "a/1"),
    at(70, "b/1"),
    settings=(DELAY, REGIONS),
    shares=(Share("share-1"), Share("share-2", place="eu-west-1", refresh_takes=200 * SECOND)),
)
OTHER_ROLE = ("GATEWAY_ROLE_ARNS", "arn:aws:iam::222222222222:role/refresh")
# A gateway in another account, whose share knows what was written through it.
OTHER_ACCOUNT = scenario(
    Event(0, ("a/1",), through="share-2"),
    at(5, "b/1"),
    aggregators=(0,),
    settings=(DELAY, OTHER_ROLE),
    shares=(Share("share-1"), Share("share-2", place="us-east-1:222222222222")),
)
