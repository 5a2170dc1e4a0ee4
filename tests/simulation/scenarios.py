"""What can happen in a run, and the small scenarios of which every schedule is run, each made for one way in which a
change could be lost, or a share be passed over."""

from dataclasses import dataclass, replace
from functools import cached_property

from event_aggregator.settings import Settings

SECOND = 1_000  # milliseconds, the unit of every time here
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
FOREVER = 1_000 * HOUR

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
class Refusal:
    """How AWS says no: the code, Storage Gateway's own inside, and the words."""

    text: str
    code: str = "InvalidGatewayRequestException"
    inside: str = ""


BUSY = Refusal("There are too many requests in progress")
OFFLINE = Refusal("The gateway is not there", inside="GatewayNotConnected")
INTERNAL = Refusal("An internal error occurred", code="InternalServerError")  # it may have begun all the same
UNKNOWN_WORDS = Refusal("The gateway is in the middle of something")
UNKNOWN_FOLDER = Refusal("The folder is not in the cache", inside="InvalidParameters")
UNKNOWN_FOLDER_IN_UNKNOWN_WORDS = Refusal("An internal gateway error occurred", inside="GatewayInternalError")
THROTTLED = Refusal("Rate exceeded", code="ThrottlingException")
DENIED = Refusal("Not authorized", code="AccessDeniedException")
NO_SUCH_SHARE = Refusal("The specified file share was not found", inside="FileShareNotFound")


@dataclass(frozen=True, slots=True)
class Share:
    name: str
    prefix: str = ""
    refresh_takes: int = 5 * SECOND
    bucket: str = "my-bucket"
    gateway: str = "sgw-1"
    kind: str = "NFS"
    # In these milliseconds after the start it is UNAVAILABLE; or cannot be described; or refuses every refresh.
    unavailable: tuple[int, int] = (0, 0)
    undescribed: tuple[int, int] = (0, 0)
    refuses: tuple[int, int] = (0, 0)
    refusal: Refusal = OFFLINE
    times: int = 1_000  # so often at most
    uncached: str = ""  # a folder that it refuses to refresh by name, with `refusal`
    deleted_at: int = FOREVER
    role_of: str = ""  # the share whose role it has, if not one of its own
    region: str = HOME  # its region, and in another account than the functions' that as well: eu-west-1:222222222222

    @property
    def arn(self) -> str:
        return f"{self._start_of_arn}:share/{self.name}"

    @property
    def gateway_arn(self) -> str:
        return f"{self._start_of_arn}:gateway/{self.gateway}"

    @property
    def _start_of_arn(self) -> str:
        region, _, account = self.region.partition(":")
        return f"arn:aws:storagegateway:{region}:{account or '123456789012'}"

    @property
    def away(self) -> str:
        return "" if self.region == HOME else self.region

    @property
    def key(self) -> str:
        """Its key in the table."""
        return "/".join(filter(None, (self.bucket, self.away, self.name)))

    @property
    def role(self) -> str:
        account = self.region.partition(":")[2] or "123456789012"
        return f"arn:aws:iam::{account}:role/{self.role_of or self.name}"

    @property
    def varies(self) -> bool:
        """Whether listing or describing it does not always answer the same."""
        return bool(self.unavailable[1] or self.undescribed[1]) or self.deleted_at < FOREVER


@dataclass(frozen=True, slots=True)
class Other:
    """Somebody else refreshes all of a share, if its gateway takes it."""

    at: int
    share: str
    takes: int


@dataclass(frozen=True, eq=False)
class Scenario:
    """Everything that is not the scheduler's to decide."""

    events: tuple[Event, ...]
    shares: tuple[Share, ...] = (Share("share-1"),)
    aggregators: tuple[int, ...] = (0, 0)  # containers, each by how far its clock is ahead, in ms
    refreshers: tuple[int, ...] = (0,)
    settings: tuple[tuple[str, str], ...] = ()
    retries: tuple[int, ...] = (60 * SECOND, 120 * SECOND)  # Lambda invokes a failed function again after these
    completion_events: bool = True
    limit: str = "gateway"  # whose two refreshes are the most that may be in progress at a time: or "share"
    others: tuple[Other, ...] = ()
    older_rule: bool = False  # a refresh has no effect if it comes within 60 s of another of the same share
    unlisted: tuple[tuple[str, int, int], ...] = ()  # a region that denies its list, from when to when
    sweeps: tuple[int, ...] = ()
    reads_fail: bool = False  # listing and describing may fail in a schedule: each is a step of its own

    @cached_property
    def read_settings(self) -> Settings:
        return Settings.read({"TABLE_NAME": "windows", "QUEUE_URL": "queue"} | dict(self.settings))

    @cached_property
    def regions(self) -> tuple[str, ...]:
        """All that the settings name."""
        settings = self.read_settings
        accounts = ("", *(arn.split(":")[4] for arn in settings.gateway_role_arns))
        return tuple(
            f"{region}:{account}" if account else region
            for account in accounts
            for region in settings.gateway_regions or (HOME,)
        )

    @cached_property
    def by_arn(self) -> dict[str, Share]:
        return {share.arn: share for share in self.shares}

    @cached_property
    def by_key(self) -> dict[str, Share]:
        return {share.key: share for share in self.shares}

    @cached_property
    def reads_are_steps(self) -> bool:
        return self.reads_fail or bool(self.unlisted) or any(share.varies for share in self.shares)

    @property
    def least_interval(self) -> int:
        """How often a full gateway is asked."""
        return min(self.read_settings.min_refresh_interval_seconds.values()) * SECOND

    def interval_of(self, key: str) -> int:
        """Of the share with this key."""
        return self.read_settings.min_refresh_interval_seconds.of(self.by_key[key].name) * SECOND

    @property
    def timeout(self) -> int:
        return self.read_settings.in_progress_timeout_seconds * SECOND

    def longest_delay(self, bucket: str) -> int:
        """From a window's first change to its refresh."""
        return self.read_settings.longest_delay(bucket) * SECOND

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


# One share, one change, nothing that disturbs.
ONE_SHARE = scenario(at(0, "a/1"), aggregators=(0,))
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
HAND_OVER_DIES = scenario(at(0, "a/1"), at(25, "b/1"), at(50, "c/1"), aggregators=(0,))
# Refreshes that take longer than the interval.
LONG_REFRESH = scenario(at(0, "a/1"), at(70, "b/1"), shares=(Share("share-1", refresh_takes=200 * SECOND),))
# ... that take longer than anybody waits for their end.
ENDLESS_REFRESH = scenario(
    at(0, "a/1"),
    at(70, "b/1"),
    settings=(DELAY, ("IN_PROGRESS_TIMEOUT_SECONDS", "600")),
    shares=(Share("share-1", refresh_takes=2 * HOUR),),
)
# Two shares, one on a prefix, and one that is not there for a while.
THREE_SHARES = scenario(
    at(0, "a/b/1"),
    at(25, "c/1"),
    shares=(Share("share-1"), Share("share-2", "a/", kind="SMB"), Share("share-3", unavailable=(0, 100 * SECOND))),
)
# A window that is moved later by each change.
QUIET_WINDOW = scenario(at(0, "a/1"), at(3.5, "a/2"), at(14, "a/3"), at(16.2, "a/4"), settings=QUIET)
QUIET_AT_THE_CLOSE = scenario(at(0, "a/1"), at(13, "a/2"), at(14, "a/3"), settings=QUIET, aggregators=(0,))
# A change after RefreshAt (12.5 s) and before its request, whose delay is in whole seconds.
BEFORE_THE_REQUEST = scenario(at(0, "a/1"), at(12.7, "a/2"), settings=(("REFRESH_QUIET_SECONDS", "10"),))
# The clock of the refresh function is ahead; or that of an aggregator behind.
REFRESHER_AHEAD = scenario(at(0, "a/1"), at(20.5, "a/2"), refreshers=(900,))
AGGREGATOR_BEHIND = scenario(at(0, "a/1"), at(5, "a/2"), at(20.3, "a/3"), aggregators=(0, -900))
# A gateway that refuses a folder that it has not cached; in words that nobody knows.
UNCACHED_FOLDER = scenario(at(0, "a/1"), shares=(Share("share-1", uncached="a", refusal=UNKNOWN_FOLDER),))
UNCACHED_FOLDER_IN_UNKNOWN_WORDS = scenario(
    at(0, "a/1"), shares=(Share("share-1", uncached="a", refusal=UNKNOWN_FOLDER_IN_UNKNOWN_WORDS),)
)
# ... while another share there is being refreshed for long.
UNCACHED_FOLDER_BESIDE_ANOTHER = scenario(
    at(0, "a/1"),
    aggregators=(0,),
    shares=(
        Share("share-1", refresh_takes=300 * SECOND),
        Share("share-2", uncached="a", refusal=UNKNOWN_FOLDER_IN_UNKNOWN_WORDS),
    ),
)
# Written through one of two shares, while somebody else writes as well.
WRITTEN_THROUGH = scenario(
    Event(0, ("a/1",), through="share-1"),
    at(5, "b/1"),
    aggregators=(0,),
    shares=(Share("share-1"), Share("share-2", gateway="sgw-2")),
    retries=SOON,
)
# ... through one of two that have one role.
ONE_ROLE = scenario(
    Event(0, ("a/1",), through="share-2"),
    aggregators=(0,),
    shares=(Share("share-1"), Share("share-2", role_of="share-1")),
)
# ... through one that cannot be described for a while.
WRITTEN_THROUGH_AN_UNKNOWN_SHARE = scenario(
    Event(0, ("a/1",), through="share-2"),
    aggregators=(0,),
    shares=(Share("share-1", role_of="share-2"), Share("share-2", undescribed=(0, 50 * SECOND))),
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
IN_TWO_REGIONS = (Share("share-1"), Share("share-1", region="eu-west-1"))
TWO_REGIONS = scenario(at(0, "a/1"), aggregators=(0,), settings=(DELAY, REGIONS), shares=IN_TWO_REGIONS)
# The second change comes while the first may wait for a region.
WAITS_FOR_A_REGION = scenario(
    at(0, "a/1"), at(25, "b/1"), aggregators=(0,), settings=(DELAY, REGIONS), shares=IN_TWO_REGIONS
)
# One region denies its list for an hour; or the only one does.
DENIED_FOR_AN_HOUR = replace(TWO_REGIONS, unlisted=(("eu-west-1", 0, HOUR),))
ONLY_REGION_DENIED_FOR_AN_HOUR = replace(scenario(at(0, "a/1"), at(200, "b/1")), unlisted=((HOME, 0, HOUR),))
# The share of the other region is asked for the second as soon as its interval has passed: no event tells of its end.
LONG_REFRESH_AWAY = scenario(
    at(0, "a/1"),
    at(70, "b/1"),
    settings=(DELAY, REGIONS),
    shares=(Share("share-1"), Share("share-2", region="eu-west-1", refresh_takes=200 * SECOND)),
)
OTHER_ROLE = ("GATEWAY_ROLE_ARNS", "arn:aws:iam::222222222222:role/refresh")
# A gateway in another account, whose share knows what was written through it.
OTHER_ACCOUNT = scenario(
    Event(0, ("a/1",), through="share-2"),
    at(5, "b/1"),
    aggregators=(0,),
    settings=(DELAY, OTHER_ROLE),
    shares=(Share("share-1"), Share("share-2", region="us-east-1:222222222222")),
)

# Turns


def by_share(scenario: Scenario) -> Scenario:
    """The same where each share takes two refreshes at a time, not each gateway."""
    return replace(scenario, limit="share")


def shares_of(*gateways: tuple[str, int], takes: int = 5 * SECOND) -> tuple[Share, ...]:
    """Each gateway with so many shares."""
    names = [name for name, count in gateways for _ in range(count)]
    return tuple(Share(f"share-{n}", gateway=name, refresh_takes=takes) for n, name in enumerate(names, start=1))


# Two shares on one gateway, changes in two windows.
TWO_ON_ONE = scenario(at(0, "a/1"), at(25, "b/1"), aggregators=(0,), refreshers=(0, 0), shares=shares_of(("sgw-1", 2)))
# Two gateways with two shares each.
TWO_GATEWAYS = scenario(at(0, "a/1"), aggregators=(0,), shares=shares_of(("sgw-1", 2), ("sgw-2", 2)))
TWO_GATEWAYS_BY_SHARE = by_share(TWO_GATEWAYS)
# Three on one gateway: one waits for a place.
THREE_ON_ONE = scenario(
    at(0, "a/1"), aggregators=(0,), refreshers=(0, 0), shares=shares_of(("sgw-1", 3), takes=30 * SECOND)
)
THREE_ON_ONE_BY_SHARE = by_share(THREE_ON_ONE)
# Four on one gateway, which are refreshed for longer than the interval, and changes that go on.
CHANGES_GO_ON = scenario(
    *(at(70 * number, f"{'ab'[number % 2]}/{number}") for number in range(4)),
    aggregators=(0,),
    shares=shares_of(("sgw-1", 4), takes=100 * SECOND),
)
CHANGES_GO_ON_BY_SHARE = by_share(CHANGES_GO_ON)
# ... of which nobody tells that they are complete: turns go on by probes.
NO_COMPLETIONS = replace(CHANGES_GO_ON, completion_events=False)
NO_COMPLETIONS_BY_SHARE = by_share(NO_COMPLETIONS)
# Four on a gateway of another region, where no refresh is known to be complete.
FOUR_AWAY = scenario(
    at(0, "a/1"),
    at(40, "b/1"),
    aggregators=(0,),
    settings=(DELAY, ("GATEWAY_REGIONS", "eu-west-1")),
    shares=tuple(replace(share, region="eu-west-1") for share in shares_of(("sgw-1", 4), takes=100 * SECOND)),
)
# Refreshes of seconds, of minutes and of hours on one gateway.
FAST_AND_SLOW = scenario(
    at(0, "a/1"),
    at(40, "b/1"),
    at(400, "c/1"),
    aggregators=(0,),
    shares=(
        Share("share-1", refresh_takes=3 * HOUR),
        Share("share-2", refresh_takes=5 * SECOND),
        Share("share-3", refresh_takes=5 * MINUTE),
    ),
    settings=(DELAY, ("IN_PROGRESS_TIMEOUT_SECONDS", "86400")),
)
# One share refuses for a reason of its own; the others on its gateway go on.
ONE_OF_THREE_IS_OFFLINE = scenario(
    at(0, "a/1"),
    at(25, "b/1"),
    aggregators=(0,),
    shares=(
        Share("share-1", refuses=(0, 10 * MINUTE)),
        Share("share-2", refresh_takes=30 * SECOND),
        Share("share-3", refresh_takes=30 * SECOND),
    ),
)
# The only share refuses: its gateway is offline for a minute; it answers with an internal error, thrice.
OFFLINE_FOR_A_MINUTE = scenario(at(0, "a/1"), shares=(Share("share-1", refuses=(0, 60 * SECOND)),))
INTERNAL_ERRORS = scenario(
    at(0, "a/1"), shares=(Share("share-1", refuses=(0, FOREVER), refusal=INTERNAL, times=3),), aggregators=(0,)
)
BUSY_TWICE = scenario(
    at(0, "a/1"), at(25, "b/1"), shares=(Share("share-1", refuses=(0, FOREVER), refusal=BUSY, times=2),)
)
# In words that nobody knows, three times and more.
UNKNOWN_WORDS_THRICE = scenario(
    at(0, "a/1"),
    aggregators=(0,),
    shares=(Share("share-1", refuses=(0, FOREVER), refusal=UNKNOWN_WORDS, times=4), Share("share-2")),
)
# One of two shares cannot be described for a while.
ONE_IS_UNKNOWN = scenario(
    at(0, "a/1"), aggregators=(0,), shares=(Share("share-1", undescribed=(0, 200 * SECOND)), Share("share-2"))
)
# A share that is deleted while it waits.
GONE_WHILE_IT_WAITS = scenario(
    at(0, "a/1"),
    at(25, "b/1"),
    aggregators=(0,),
    shares=(Share("share-1"), Share("share-2", unavailable=(0, 50 * SECOND), deleted_at=40 * SECOND)),
)
# Somebody else refreshes the share just before we do, or while we do, with and without the older rule.
REFRESHED_BY_OTHERS = replace(
    scenario(at(0, "a/1"), aggregators=(0,)), others=(Other(10 * SECOND, "share-1", 30 * SECOND),)
)
REFRESHED_BY_OTHERS_OLDER_RULE = replace(REFRESHED_BY_OTHERS, older_rule=True)
# ... and theirs is complete before we ask.
COMPLETED_BY_OTHERS_OLDER_RULE = replace(
    REFRESHED_BY_OTHERS_OLDER_RULE, others=(Other(10 * SECOND, "share-1", 5 * SECOND),)
)
# ... which takes so long that we have asked it again before it is known.
LONG_BY_OTHERS_OLDER_RULE = replace(
    scenario(at(0, "a/1"), at(50, "b/1"), aggregators=(0,)),
    others=(Other(19 * SECOND, "share-1", 200 * SECOND),),
    older_rule=True,
)
# Two on one gateway, and two places taken by others when they are to be asked.
SLOTS_TAKEN_BY_OTHERS = replace(
    TWO_ON_ONE,
    others=(Other(10 * SECOND, "share-1", 100 * SECOND), Other(10 * SECOND, "share-2", 100 * SECOND)),
)
# Two buckets, with a share each on one gateway.
TWO_BUCKETS = scenario(
    at(0, "a/1"),
    Event(5 * SECOND, ("a/1",), bucket="other-bucket"),
    aggregators=(0,),
    shares=(Share("share-1"), Share("share-2", bucket="other-bucket")),
)
# Two buckets with delays of their own, a share each on one gateway with intervals of their own.
TWO_PACES = scenario(
    at(0, "a/1"),
    Event(0, ("a/1",), bucket="other-bucket"),
    at(65, "b/1"),
    Event(65 * SECOND, ("b/1",), bucket="other-bucket"),
    aggregators=(0,),
    settings=(
        ("REFRESH_DELAY_SECONDS", "30,my-bucket=20,other-bucket=25"),
        ("MIN_REFRESH_INTERVAL_SECONDS", "200,share-1=60"),
    ),
    shares=(Share("share-1"), Share("share-2", bucket="other-bucket")),
)
# The sweep comes when the window is due, and while shares wait.
SWEPT = replace(
    scenario(at(0, "a/1"), aggregators=(0,), refreshers=(0, 0), shares=shares_of(("sgw-1", 2))),
    sweeps=(20 * SECOND,),
)
# A container remembers that two shares wait, which another has asked since, when they are to wait again.
REMEMBERED_LINE = scenario(
    at(0, "a/1", "c/1"),
    at(55, "c/2"),
    aggregators=(0,),
    refreshers=(0, 0),
    shares=(
        Share("share-1", "a/", refresh_takes=30 * SECOND),
        Share("share-2", "a/", refresh_takes=30 * SECOND),
        Share("share-3", "c/"),
        Share("share-4", "c/"),
    ),
)
# The request of one bucket takes the turn of another's share, and dies; a later window takes its own folders over.
CLAIMED_FOR_ANOTHER_BUCKET = scenario(
    Event(0, ("a/1",), bucket="other-bucket"),
    Event(25 * SECOND, ("b/1",), bucket="other-bucket"),
    at(60, "a/1"),
    at(85, "b/1"),
    aggregators=(0,),
    shares=(Share("share-1"), Share("share-2", bucket="other-bucket")),
)
# A refresh, whose completion nobody tells, is known to be in progress for longer than SQS delays a message.
LATE_WAKE = replace(ENDLESS_REFRESH, settings=(DELAY, ("IN_PROGRESS_TIMEOUT_SECONDS", "1200")), completion_events=False)
# Folders are put into a share's window while it is its turn.
ADDED_WHILE_IT_IS_ITS_TURN = scenario(
    at(0, "a/1"), at(25, "b/1"), at(60, "c/1"), aggregators=(0,), refreshers=(0, 0), shares=(Share("share-1"),)
)
# A hand-over stalls while that of the next window dies.
STALLED_HAND_OVER = replace(NO_DELAY, aggregators=(0,), completion_events=False)
