"""File shares that do as a test says, and the refresh function that is given its messages when they are due."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from event_aggregator import aws
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.folders import WHOLE_SHARE, Round
from event_aggregator.gateways import Gateways
from event_aggregator.observability import logger, timestamp
from event_aggregator.regions import Regions
from event_aggregator.request import VISIBILITY_TIMEOUT_SECONDS, Request, WakeRequest, seconds_until_retry
from event_aggregator.table import Key
from event_aggregator.turns import Gateway
from event_aggregator.writers import Roles
from tests.unit.conftest import World, s3_event, s3_record

HOME, AWAY = "us-east-1", "eu-west-1"
TIME_LEFT = 60_000  # the function's timeout
MINUTE = 60_000
AN_HOUR = 3_600_000  # IN_PROGRESS_TIMEOUT_SECONDS

_COMPLETED = "Storage Gateway Refresh Cache Event"


def refusal(code: str = "InvalidGatewayRequestException", message: str = "no", inside: str = "") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}}
    if inside:
        answer["error"] = {"errorCode": inside}
    return ClientError(answer, "RefreshCache")


BUSY = refusal(message="Too many requests have been sent to server.")
OFFLINE = refusal(message="The specified gateway is not connected.", inside="GatewayNotConnected")
NOT_CACHED = refusal(message="The folder is not known.", inside="InvalidParameters")
UNKNOWN_WORDS = refusal(message="Nobody has ever read this.")
INTERNAL = refusal("InternalServerError", "An internal server error has occurred.")
NO_SHARE = refusal(message="The specified file share was not found.", inside="FileShareNotFound")
DENIED = refusal("AccessDeniedException", "The role may not do this.")
DOWN = EndpointConnectionError(endpoint_url="test")
NO_ANSWER = ReadTimeoutError(endpoint_url="test")


class KilledError(BaseException):
    """Lambda ends the function, or its container dies, at this moment."""


def share(  # noqa: PLR0913 - what a share can be
    name: str = "share-1",
    gateway: str = "sgw-1",
    *,
    status: str = "AVAILABLE",
    prefix: str = "",
    region: str = "",
    role: str = "",
    unknown: str = "",
) -> FileShare:
    """A share of my-bucket. `region`: none for home, a region, or region and account."""
    region_code, _, account = (region or HOME).partition(":")
    start = f"arn:aws:storagegateway:{region_code}:{account or '123456789012'}"
    return FileShare(
        f"{start}:share/{name}",
        "NFS",
        f"{start}:gateway/{gateway}",
        status,
        "my-bucket",
        prefix,
        region,
        f"arn:aws:iam::123456789012:role/{role or name}",
        unknown,
    )


GATEWAY = share().gateway_arn


@dataclass(eq=False)
class Refresh:
    """A refresh that a share accepted."""

    share: FileShare
    round_: Round
    at: int
    id: str
    is_complete: bool = False

    def event(self, completed_at: int) -> dict[str, Any]:
        return completion(self.share, self.id, self.at, completed_at, self.round_.folder_list)


def completion(
    share: FileShare, notification_id: str, started: int, completed: int, folder_list: Sequence[str] = ("/",)
) -> dict[str, Any]:
    """The event as EventBridge delivers it (S3 File Gateway user guide, monitoring-file-gateway)."""
    return {
        "version": "0",
        "detail-type": _COMPLETED,
        "source": "aws.storagegateway",
        "resources": [share.arn, share.gateway_arn],
        "detail": {
            "event-type": "refresh-complete",
            "notification-id": notification_id,
            "started": timestamp(started),
            "completed": timestamp(completed),
            "folderList": list(folder_list),
        },
    }


@dataclass(eq=False)
class Region(FileShares):
    """The shares of a region, in the place of Storage Gateway's. `asked` and `rounds` tell of every RefreshCache."""

    world: World
    shares: list[FileShare] = field(default_factory=lambda: [share()])
    takes: int = 2  # so many refreshes at a time
    each_share_takes: bool = False  # so many, and not each gateway
    listing: Exception | None = None
    looking: dict[str, Exception] = field(default_factory=dict)  # by share id
    slowness: int = 0  # of each call, milliseconds
    meanwhile: Callable[[FileShare], object] = lambda _: None  # during a RefreshCache, before it is carried out
    afterwards: Callable[[FileShare], object] = lambda _: None  # before its caller hears that it was accepted
    listings: int = 0
    looked: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    refreshes: list[Refresh] = field(default_factory=list)
    _refusals: dict[str, Iterator[Exception]] = field(default_factory=dict)

    def refuse(self, name: str, errors: Iterable[Exception]) -> None:
        """Answer the next RefreshCache calls of a share with these; no other errors before or after."""
        self._refusals[name] = iter(errors)

    def showing(self, bucket: str) -> list[FileShare]:
        self.world.time += self.slowness
        self.listings += 1
        if self.listing:
            raise self.listing
        return [share for share in self.shares if share.bucket == bucket]

    def describe(self, arn: str, kind: str, gateway_arn: str, bucket: str) -> FileShare | None:
        self.world.time += self.slowness
        name = arn.rpartition("/")[2]
        self.looked.append(name)
        if name in self.looking:
            raise self.looking[name]
        found = next((share for share in self.shares if share.arn == arn), None)
        assert found is None or (kind, gateway_arn) == (found.kind, found.gateway_arn)
        assert found is None or not found.unknown or found.bucket == bucket
        return found

    def refresh(self, share: FileShare, round_: Round) -> str:
        self.asked.append(share.share_id)
        self.rounds.append(round_)
        self.meanwhile(share)
        self.world.time += self.slowness
        if error := next(self._refusals.get(share.share_id, iter(())), None):
            raise error
        if self._in_progress(share) >= self.takes:
            raise BUSY
        self.refreshes.append(Refresh(share, round_, self.world.time, f"n{len(self.refreshes) + 1}"))
        refreshed = self.refreshes[-1].id
        self.afterwards(share)
        return refreshed

    def refreshed_by_somebody_else(self, share: FileShare) -> Refresh:
        """A refresh of a share begins now that is none of the function's."""
        self.refreshes.append(Refresh(share, WHOLE_SHARE, self.world.time, f"n{len(self.refreshes) + 1}"))
        return self.refreshes[-1]

    def _in_progress(self, share: FileShare) -> int:
        running = [refresh.share for refresh in self.refreshes if not refresh.is_complete]
        if self.each_share_takes:
            return sum(other.arn == share.arn for other in running)
        return sum(other.gateway_arn == share.gateway_arn for other in running)


@dataclass(eq=False)
class Message:
    body: str
    id: str
    due: int
    receives: int = 0


class Function:
    """The refresh function: one warm container, unless `restart` is called. `queue` holds what is not delivered yet."""

    most_events = 300  # that `run` makes happen

    def __init__(self, world: World, regions: dict[str, Region]) -> None:
        self.world = world
        self.regions = regions
        self.roles = Roles(partial(aws.iam, aws.own_session), print)
        self.queue: list[Message] = []
        self.failures: list[BaseException] = []  # of the deliveries that `run` makes
        self._numbers = count(1)
        self.restart()
        world.sqs.meta.events.register("provide-client-params.sqs.SendMessage", self._queued)

    def restart(self) -> None:
        """What the container remembered is lost."""
        self.gateways: Gateways = self.world.gateways

    def _queued(self, params: dict[str, Any], **_: Any) -> None:
        self.put(params["MessageBody"], self.world.time + 1000 * params["DelaySeconds"])

    def put(self, content: str | dict[str, Any], due: int) -> None:
        """Somebody sends a message."""
        body = content if isinstance(content, str) else json.dumps(content)
        self.queue.append(Message(body, f"message-{next(self._numbers)}", due))

    # One delivery; its failure is the test's.

    def handle(self, body: str | dict[str, Any], bucket: str | None = None, message_id: str = "") -> None:
        """Have the function handle a message, as a delivery of one that is not in `queue`, or is and stays there."""
        regions = Regions(
            HOME, {name: partial(same, region) for name, region in self.regions.items()}, {"": self.roles}
        )
        logger.clear_state()
        text = body if isinstance(body, str) else json.dumps(body)
        refresher = self.world.refresher(regions, self.gateways)
        refresher.handle(text, bucket, message_id or f"message-{next(self._numbers)}", TIME_LEFT)

    def deliver(self, message: Message) -> None:
        """Move the clock to where a message is due, and deliver it; it is deleted if that succeeds."""
        self.world.time = max(self.world.time, message.due)
        self.handle(message.body, message_id=message.id)
        if message in self.queue:
            self.queue.remove(message)

    def deliver_next(self) -> Message:
        """Deliver the message that is due first."""
        message = self.next
        self.deliver(message)
        return message

    def deliver_request(self, key: str = "my-bucket") -> None:
        """Deliver the newest request of a window when it is due; it is deleted."""
        self.deliver([message for message in self.queue if f'"key": "{key}"' in message.body][-1])

    @property
    def next(self) -> Message:
        return min(self.queue, key=lambda message: message.due)

    def complete(self, refresh: Refresh) -> None:
        """A refresh ends now, and its event is delivered."""
        refresh.is_complete = True
        self.handle(refresh.event(self.world.time))

    def sweep(self) -> None:
        self.handle({"sweep": True})

    # All that happens, in its order.

    def run(self, *, until: int | None = None, refreshes_take: int = MINUTE, told: bool = True) -> None:
        """Deliver every message when it is due, again if that fails, and complete every refresh after so long.

        Until nothing is left to happen, or to the time `until`. `told`: the function gets the events of completion.
        """
        for _ in range(self.most_events):
            running = self._running()
            ends = running[0].at + refreshes_take if running else None
            due = self.next.due if self.queue else None
            first = min((time for time in (ends, due) if time is not None), default=None)
            if first is None or (until is not None and first > until):
                self.world.time = max(self.world.time, until or 0)
                return
            self.world.time = max(self.world.time, first)
            if ends is not None and (due is None or ends <= due):
                running[0].is_complete = True
                if told:
                    self.put(running[0].event(self.world.time), self.world.time)
            else:
                self._try(self.next)
        raise AssertionError("it never ends")

    def _running(self) -> list[Refresh]:
        running = [r for region in self.regions.values() for r in region.refreshes if not r.is_complete]
        return sorted(running, key=lambda refresh: refresh.at)

    def _try(self, message: Message) -> None:
        message.receives += 1
        try:
            self.deliver(message)
        except Exception as error:  # noqa: BLE001 - the queue delivers again whatever it was
            self.failures.append(error)
            message.due = self.world.time + 1000 * seconds_until_retry(message.receives)
        except KilledError as error:
            self.failures.append(error)
            message.due = self.world.time + 1000 * VISIBILITY_TIMEOUT_SECONDS

    # What a test looks at

    def gateway(self, arn: str = GATEWAY) -> Gateway:
        """As the table holds it."""
        return self.world.gateway(arn)

    def in_line(self, arn: str = GATEWAY) -> list[str]:
        """The keys of the shares that wait at a gateway, in their order."""
        return [str(key) for key in self.gateway(arn).waiting()]

    def wake(self, arn: str = GATEWAY) -> WakeRequest:
        """The wake that a gateway's document holds."""
        wake = self.gateway(arn).wake
        assert wake
        return WakeRequest(Key.read(arn), wake.token)

    def last_request(self, key: str = "my-bucket") -> Request:
        return [request for request in self.world.requests() if str(request.key) == key][-1]


def same(region: Region) -> Region:
    return region


def change(world: World, *keys: str, **changed: Any) -> None:
    """Objects of my-bucket change now; a new aggregator handles the event."""
    records = (s3_record(key, at=world.time, **changed) for key in keys or ("photos/a.jpg",))
    world.aggregator.aggregate_event(s3_event(*records), TIME_LEFT)
