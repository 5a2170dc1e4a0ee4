"""A simulated AWS Storage Gateway: file shares that show a bucket, stale until they are refreshed, as real ones are.

`Share` is a file share with its folder cache, without HTTP and without AWS. `StorageGateway` is the service that the
AWS SDK talks to, on loopback. Both keep the rules of the API reference (RefreshCache, ListFileShares,
Describe{NFS,SMB}FileShares, DescribeGatewayInformation) and of the S3 File Gateway user guide. Where AWS documents a
rule in two ways, a setting chooses, and starts with the current reference or else what is worse for the caller; where
AWS is silent, they do what is worst for the caller, and say so.
"""

import json
import threading
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from typing import Any, Literal, NamedTuple, Self

Kind = Literal["NFS", "SMB"]
Scope = Literal["share", "gateway"]
Objects = tuple[Sequence[str], Sequence[str]]
"""The keys and the common prefixes right under a prefix: what ListObjectsV2 answers with Delimiter="/"."""

REGION, ACCOUNT = "us-east-1", "000000000000"
LIST_PAGE = 1000
MAX_FOLDERS = 50
MAX_FOLDER_LENGTH = 1024
MAX_NAME_BYTES = 255
MAX_ARNS = 10
MAX_IN_PROGRESS = 2


class Refusal(NamedTuple):
    """An error of the API in the place of an answer.

    `code` is its name. `detail` is the operation error code inside (`error.errorCode`), if there is one. `status` is
    that of HTTP: the API reference says 400 for all errors of an operation; the user guide (Error responses) says 500
    for InternalServerError.
    """

    message: str
    code: str = "InvalidGatewayRequestException"
    detail: str = ""
    status: int = 400


DOWN = Refusal("The service is down.", code="InternalServerError")
NOT_CACHED = Refusal("The folder is not in the cache.", detail="InvalidParameters")
NOT_CONNECTED = Refusal("The specified gateway is not connected.", detail="GatewayNotConnected")
NOT_FOUND = Refusal("The specified file share was not found.", detail="FileShareNotFound")
TOO_MANY = Refusal("Too many requests have been sent to server.")


class RefusedError(Exception):
    """The service refuses to do as asked."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def _invalid(message: str) -> RefusedError:
    return RefusedError(Refusal(message, code="ValidationException"))


# ---- The share and its folder cache


class Listing(NamedTuple):
    """What a client sees in a folder: names, not paths."""

    files: frozenset[str]
    folders: frozenset[str]


def list_keys(keys: Sequence[str], prefix: str) -> Objects:
    """List a bucket in memory, given all its keys in sorted order, in time proportional to the answer."""
    found, prefixes = [], []
    position = bisect_left(keys, prefix)
    while position < len(keys) and keys[position].startswith(prefix):
        name, slash, _ = keys[position].removeprefix(prefix).partition("/")
        if slash:
            prefixes.append(f"{prefix}{name}/")
            position = bisect_left(keys, f"{prefix}{name}0", position)  # "0" is the character after "/"
        else:
            found.append(keys[position])
            position += 1
    return found, prefixes


def list_bucket(s3: Any, bucket: str, prefix: str) -> Objects:
    """List a bucket in S3, given its client."""
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"))
    return (
        [found["Key"] for page in pages for found in page.get("Contents", [])],
        [found["Prefix"] for page in pages for found in page.get("CommonPrefixes", [])],
    )


@dataclass(eq=False)
class Share:
    """Shows a bucket, or what lies under a prefix of it, and asks S3 only for folders that it has not cached.

    A folder is "a/b", the root "". What a cached folder shows is what S3 held when it was listed last, and a client
    reaches a folder only through its parents: a new one is invisible until its parent is listed again. Objects with a
    name in their path that no file system has ("a//b", "/a", "a/../b", one of more than 255 bytes) are never shown.

    `lists` and `heads` count what the refreshes have cost: a LIST for each 1,000 entries, a HEAD for each object.
    """

    list_objects: Callable[[str], Objects]
    prefix: str = ""  # "" or "photos/"
    # For a folder in FolderList that is not cached. AWS does not say what happens: if None, the folder is ignored.
    uncached: Refusal | None = None
    lists: int = field(default=0, init=False)
    heads: int = field(default=0, init=False)
    _cache: dict[str, Listing] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    def listing(self, folder: str = "") -> Listing:
        """What a client sees in a folder. Raises FileNotFoundError for one that its parent does not show."""
        parent, _, name = folder.rpartition("/")
        with self._lock:
            if folder and name not in self.listing(parent).folders:
                raise FileNotFoundError(folder)
            if folder not in self._cache:
                self._cache[folder] = self._names(folder, *self._objects(folder))
            return self._cache[folder]

    def tree(self) -> set[str]:
        """The paths of all files that a client sees on a walk from the root."""
        files, folders = set(), [""]
        with self._lock:
            while folders:
                folder = folders.pop()
                listing = self.listing(folder)
                files |= {_path(folder, name) for name in listing.files}
                folders += [_path(folder, name) for name in listing.folders]
        return files

    def refresh(self, folder_list: Sequence[str] = ("/",), *, recursive: bool = True) -> None:
        """Do at once what RefreshCache does in three steps. Raises RefusedError."""
        self.publish(self.read(self.accept(folder_list), recursive=recursive))

    def accept(self, folder_list: Sequence[str]) -> list[str]:
        """The folders that a RefreshCache call will list again. Raises RefusedError.

        Whether a folder is cached is judged here, before any is listed: that a parent in the same call makes it known
        does not help it.
        """
        if not 1 <= len(folder_list) <= MAX_FOLDERS:
            raise _invalid(f"FolderList must hold 1 to {MAX_FOLDERS} folders.")
        for name in folder_list:
            if not 1 <= len(name) <= MAX_FOLDER_LENGTH:
                raise _invalid(f"A folder must have 1 to {MAX_FOLDER_LENGTH} characters.")
            if name != "/" and name.strip("/") != name:
                raise RefusedError(
                    Refusal(f"The folder {name} begins or ends with a slash.", detail="InvalidParameters")
                )
        folders = ["" if name == "/" else name for name in folder_list]
        with self._lock:
            unknown = [folder for folder in folders if folder and folder not in self._cache]
        if unknown and self.uncached:
            raise RefusedError(self.uncached)
        return [folder for folder in folders if folder not in unknown]

    def read(self, folders: Sequence[str], *, recursive: bool) -> dict[str, Listing]:
        """List folders again from S3, with everything beneath them or without."""
        read: dict[str, Listing] = {}
        waiting = list(folders)
        while waiting:
            folder = waiting.pop()
            if folder in read:
                continue
            keys, prefixes = self._objects(folder)
            self.lists += max(1, -(-(len(keys) + len(prefixes)) // LIST_PAGE))
            self.heads += len(keys)
            read[folder] = self._names(folder, keys, prefixes)
            if recursive:
                waiting += [_path(folder, name) for name in read[folder].folders]
        return read

    def publish(self, read: dict[str, Listing]) -> None:
        """Show clients what was read, and forget the folders that vanished with all beneath them."""
        with self._lock:
            self._cache |= read
            for folder in sorted(self._cache):  # parents come before their children
                parent, _, name = folder.rpartition("/")
                if folder and (parent not in self._cache or name not in self._cache[parent].folders):
                    del self._cache[folder]

    def _objects(self, folder: str) -> Objects:
        return self.list_objects(f"{self.prefix}{folder}/" if folder else self.prefix)

    def _names(self, folder: str, keys: Sequence[str], prefixes: Sequence[str]) -> Listing:
        """Drops what cannot be shown, and the empty name of the object that marks the folder itself."""
        start = len(self.prefix) + (len(folder) + 1 if folder else 0)
        return Listing(
            frozenset(key[start:] for key in keys if can_be_shown(key[start:])),
            frozenset(prefix[start:-1] for prefix in prefixes if can_be_shown(prefix[start:-1])),
        )


def can_be_shown(name: str) -> bool:
    """Whether a file or a folder in a file system can have this name."""
    return name not in ("", ".", "..") and len(name.encode()) <= MAX_NAME_BYTES


def _path(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


# ---- The service


class Place(NamedTuple):
    """A region of an account: where a share is, or by its signature a call goes."""

    region: str = REGION
    account: str = ACCOUNT

    def arn(self, resource: str) -> str:
        return f"arn:aws:storagegateway:{self.region}:{self.account}:{resource}"


HOME = Place()


@dataclass(eq=False, kw_only=True)
class FileShare(Share):
    """A share as the service knows it; reading is for its clients (see Share).

    May be set at any time: `status`, and `refresh_seconds`, if its refreshes take another time than other shares'.
    """

    kind: Kind
    share_id: str
    gateway_arn: str
    location_arn: str
    status: str = "AVAILABLE"
    place: Place
    role: str = "StorageGatewayBucketAccessRole"
    refresh_seconds: float | None = None

    @property
    def arn(self) -> str:
        return self.place.arn(f"share/{self.share_id}")


@dataclass(frozen=True)
class Call:
    """A call as it was sent, at epoch milliseconds; its outcome is "accepted" or an error's code."""

    at: int
    operation: str
    shares: tuple[str, ...]
    folders: tuple[str, ...]
    recursive: bool | None
    outcome: str
    message: str = ""


@dataclass(eq=False)
class Refresh:
    """A refresh that was accepted, with its times in epoch milliseconds; no `completed_at`: it is in progress.

    `ours` is false for what refresh_by_somebody_else has started. `void`: it changes nothing (`void_within_seconds`).
    """

    notification_id: str
    share: FileShare
    folder_list: list[str]
    folders: list[str]
    recursive: bool
    seconds: float
    ours: bool
    void: bool
    accepted_at: int
    started_at: int | None = None
    completed_at: int | None = None
    _before: "Refresh | None" = field(default=None, repr=False)  # must be over before this one starts
    _hurry: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _worker: threading.Thread = field(init=False, repr=False)


Operation = Literal["RefreshCache", "ListFileShares", "Describe", "DescribeGatewayInformation"]
Subject = FileShare | Place | str | None


def _now() -> int:
    return time.time_ns() // 1_000_000


class StorageGateway:
    """The Storage Gateway service on loopback: `with StorageGateway(s3) as gateway`, then `gateway.endpoint_url`.

    It is that of every region and account: a call sees the shares of the region for which it is signed, and of the
    account whose key has signed it, and no others. `account_of` says which that is (all are of one, if it is left out);
    the signature itself is not verified.

    A refresh runs in the background. It reads S3 when it starts. It shows clients what it read when it completes, after
    `refresh_seconds` of the service or of the share, or when `finish` is called: objects written in between may be
    missing from it, as on AWS. `clock` (epoch milliseconds) dates calls and refreshes; it does not end any.

    What AWS documents in two ways:
    - `two_accepted_per`: "the gateway will accept no more than two refreshes at any time" (API reference,
      RefreshCache); "one file share supports two" (knowledge centre, storage-gateway-refreshcache-latency).
    - `one_running_per`: "RefreshCache needs to complete one process before starting another" (user guide,
      refresh-cache): an accepted refresh waits for earlier ones of its share, or of all shares of its gateway.
    - `void_within_seconds`: the reference of AWS CLI 2.7 (refresh-cache) says that a refresh evicts nothing if it is
      invoked within 60 seconds of a previous request. It completes and is reported as always, but changes nothing.
      Later references do not say so: 0 seconds. A request that was refused does not count.

    All of these may be set on a running gateway. So may be:
    - `page_size` of ListFileShares;
    - `outage` (every call fails), `down` (regions in which every call fails), `lose_answers` (RefreshCache is carried
      out, but its caller never hears of it), `too_many` (refuses a third refresh; AWS does not document its words);
    - `on_complete`, which gets the completion event of each refresh as EventBridge would deliver it;
    - `deliveries` of a refresh's event: 0 for one that is lost, 2 for one that comes twice.

    `calls` and `refreshes` tell what happened so far.
    """

    def __init__(  # noqa: PLR0913
        self,
        s3: Any,
        *,
        page_size: int = 100,
        refresh_seconds: float = 0.2,
        two_accepted_per: Scope = "gateway",
        one_running_per: Scope = "gateway",
        account_of: Callable[[str], str] = lambda _: ACCOUNT,
        clock: Callable[[], int] = _now,
    ) -> None:
        self.page_size = page_size
        self.refresh_seconds = refresh_seconds
        self.two_accepted_per = two_accepted_per
        self.one_running_per = one_running_per
        self.void_within_seconds = 0.0
        self.account_of = account_of
        self.clock = clock
        self.outage = False
        self.down: set[str] = set()
        self.too_many = TOO_MANY
        self.lose_answers = False
        self.on_complete: Callable[[dict[str, Any]], object] | None = None
        self.deliveries: Callable[[Refresh], int] = lambda _: 1
        self.shares: dict[str, FileShare] = {}  # by ARN; remove one as if it was deleted
        self.calls: list[Call] = []
        self.refreshes: list[Refresh] = []
        self._s3 = s3
        self._refusals: dict[tuple[str, Subject], Iterator[Refusal]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._listener = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._listener.join()
        self._closing.set()
        for refresh in self.refreshes:
            refresh._hurry.set()
        for refresh in self.refreshes:
            refresh._worker.join()

    def add_share(  # noqa: PLR0913
        self,
        bucket: str,
        prefix: str = "",
        *,
        kind: Kind = "NFS",
        gateway_id: str = "sgw-12A3456B",
        status: str = "AVAILABLE",
        location_arn: str | None = None,
        uncached: Refusal | None = None,
        region: str = REGION,
        account: str = ACCOUNT,
        role: str = "StorageGatewayBucketAccessRole",
    ) -> FileShare:
        """A new share of a bucket or of a prefix; `location_arn` for what says the same in another way.

        `role` is the name of the one by which its gateway writes.
        """
        place = Place(region, account)
        prefix = f"{prefix.strip('/')}/" if prefix else ""
        share = FileShare(
            partial(list_bucket, self._s3, bucket),
            prefix,
            uncached,
            kind=kind,
            share_id=f"share-{uuid.uuid4().hex[:8].upper()}",
            gateway_arn=place.arn(f"gateway/{gateway_id}"),
            location_arn=location_arn or f"arn:aws:s3:::{bucket}{'/' if prefix else ''}{prefix}",
            status=status,
            place=place,
            role=role,
        )
        self.shares[share.arn] = share
        return share

    def refuse(self, refusals: Iterable[Refusal], *, of: Subject = None, operation: Operation = "RefreshCache") -> None:
        """Answer the next calls of an operation with these, in this order, instead of those told before.

        `of`: the share, the gateway (its ARN) or the place that a call must be about; None: any call. "Describe" is
        both Describe operations: one refused share fails the whole call. To refuse without end, pass `repeat(refusal)`;
        to end it, pass `()`.
        """
        self._refusals[operation, of] = iter(refusals)

    def set_online(self, gateway_id: str, online: bool, place: Place = HOME) -> None:
        """Connect or disconnect a gateway; one that is offline refuses RefreshCache, and to tell of itself."""
        for operation in ("RefreshCache", "DescribeGatewayInformation"):
            refusals = () if online else repeat(NOT_CONNECTED)
            self.refuse(refusals, of=place.arn(f"gateway/{gateway_id}"), operation=operation)

    def refresh_by_somebody_else(
        self,
        share: FileShare,
        folder_list: Sequence[str] = ("/",),
        *,
        recursive: bool = True,
        seconds: float | None = None,
    ) -> Refresh:
        """Start a refresh as somebody else does, in the console or on a schedule.

        It counts and is reported as any other, but is not among `calls`. Raises RefusedError, though not for what
        `refuse` and `set_online` say, which is for callers over HTTP.
        """
        with self._lock:
            return self._accept(share, list(folder_list), recursive, ours=False, seconds=seconds)

    def finish(self, refresh: Refresh) -> None:
        """End a refresh now, whatever is left of its time, and first those that it waits for.

        When this returns, its completion is reported.
        """
        if refresh._before and not refresh._before._over.is_set():
            self.finish(refresh._before)
        refresh._hurry.set()
        refresh._worker.join()

    def answer(self, operation: str, request: dict[str, Any], place: Place) -> dict[str, Any]:
        """Carry out one call to the service of a region and account and note it down. Raises RefusedError."""
        operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "ListFileShares": partial(self._list, place),
            "DescribeNFSFileShares": partial(self._describe, place, "NFS"),
            "DescribeSMBFileShares": partial(self._describe, place, "SMB"),
            "RefreshCache": partial(self._refresh_cache, place),
            "DescribeGatewayInformation": self._describe_gateway,
        }
        arns = request.get("FileShareARNList", [request["FileShareARN"]] if "FileShareARN" in request else [])
        folders = request.get("FolderList", [])
        call = partial(Call, self.clock(), operation, tuple(arns), tuple(folders), request.get("Recursive"))
        with self._lock:
            try:
                if self.outage or place.region in self.down:
                    raise RefusedError(DOWN)
                if operation not in operations:
                    raise RefusedError(Refusal(f"{operation} is not simulated.", code="UnknownOperationException"))
                self._refuse_as_told(operation, place, arns or [request.get("GatewayARN", "")])
                answer = operations[operation](request)
            except RefusedError as error:
                self.calls.append(call(error.refusal.code, error.refusal.message))
                raise
            self.calls.append(call("accepted"))
            return answer

    def _refuse_as_told(self, operation: str, place: Place, arns: Sequence[str]) -> None:
        told = "Describe" if operation.endswith("FileShares") and operation != "ListFileShares" else operation
        shares = [self.shares[arn] for arn in arns if arn in self.shares]
        for of in (*shares, *(share.gateway_arn for share in shares), *arns, place, None):
            if refusal := next(self._refusals.get((told, of), iter(())), None):
                raise RefusedError(refusal)

    def _list(self, place: Place, request: dict[str, Any]) -> dict[str, Any]:
        there = [share for share in self.shares.values() if share.place == place]
        shares = [share for share in there if request.get("GatewayARN") in (None, share.gateway_arn)]
        start = int(request.get("Marker", 0))
        end = start + min(request.get("Limit", self.page_size), self.page_size)
        page = [
            {
                "FileShareType": share.kind,
                "FileShareARN": share.arn,
                "FileShareId": share.share_id,
                "FileShareStatus": share.status,
                "GatewayARN": share.gateway_arn,
            }
            for share in shares[start:end]
        ]
        marker = {"Marker": request["Marker"]} if "Marker" in request else {}
        next_marker = {"NextMarker": str(end)} if end < len(shares) else {}
        return marker | next_marker | {"FileShareInfoList": page}

    def _describe(self, place: Place, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
        arns = request["FileShareARNList"]
        if not 1 <= len(arns) <= MAX_ARNS:
            raise _invalid(f"FileShareARNList must hold 1 to {MAX_ARNS} ARNs.")
        shares = [self._share(place, arn, kind) for arn in arns]
        return {
            f"{kind}FileShareInfoList": [
                {
                    "FileShareARN": share.arn,
                    "FileShareId": share.share_id,
                    "FileShareStatus": share.status,
                    "GatewayARN": share.gateway_arn,
                    "LocationARN": share.location_arn,
                    "Path": f"/{share.share_id}",
                    "Role": f"arn:aws:iam::{place.account}:role/{share.role}",
                }
                for share in shares
            ]
        }

    def _describe_gateway(self, request: dict[str, Any]) -> dict[str, Any]:
        arn = request["GatewayARN"]
        if not any(share.gateway_arn == arn for share in self.shares.values()):
            raise RefusedError(Refusal("The specified gateway was not found.", detail="GatewayNotFound"))
        told = {"GatewayState": "RUNNING", "GatewayType": "FILE_S3", "HostEnvironment": "EC2", "SoftwareVersion": "0.0"}
        return {"GatewayARN": arn, "GatewayId": arn.rpartition("/")[2], **told}

    def _refresh_cache(self, place: Place, request: dict[str, Any]) -> dict[str, Any]:
        share = self._share(place, request["FileShareARN"])
        refresh = self._accept(share, request.get("FolderList", ["/"]), request.get("Recursive", True), ours=True)
        return {"FileShareARN": share.arn, "NotificationId": refresh.notification_id}

    def _share(self, place: Place, arn: str, kind: Kind | None = None) -> FileShare:
        share = self.shares.get(arn)
        if share is None or share.place != place or kind not in (None, share.kind):
            raise RefusedError(NOT_FOUND)
        return share

    def _accept(
        self, share: FileShare, folder_list: list[str], recursive: bool, *, ours: bool, seconds: float | None = None
    ) -> Refresh:
        if seconds is None:
            seconds = self.refresh_seconds if share.refresh_seconds is None else share.refresh_seconds
        if share.status != "AVAILABLE":  # nobody documents in which words
            raise RefusedError(Refusal(f"The file share is {share.status}."))
        folders = share.accept(folder_list)
        if len(self._in_progress(share, self.two_accepted_per)) >= MAX_IN_PROGRESS:
            raise RefusedError(self.too_many)
        now = self.clock()
        since = now - self.void_within_seconds * 1000
        refresh = Refresh(
            str(uuid.uuid4()),
            share,
            folder_list,
            folders,
            recursive,
            seconds=seconds,
            ours=ours,
            void=any(earlier.share is share and earlier.accepted_at > since for earlier in self.refreshes),
            accepted_at=now,
            _before=next(reversed(self._in_progress(share, self.one_running_per)), None),
        )
        refresh._worker = threading.Thread(target=self._run, args=(refresh,), daemon=True)
        refresh._worker.start()
        self.refreshes.append(refresh)
        return refresh

    def _in_progress(self, share: FileShare, scope: Scope) -> list[Refresh]:
        """What is accepted and not over for a share, or for its gateway, oldest first."""
        return [
            refresh
            for refresh in self.refreshes
            if not refresh._over.is_set()
            and (refresh.share is share if scope == "share" else refresh.share.gateway_arn == share.gateway_arn)
        ]

    def _run(self, refresh: Refresh) -> None:
        try:
            refresh.started_at = refresh.accepted_at
            if before := refresh._before:
                before._over.wait()
                refresh.started_at = before.completed_at or self.clock()
            read = {} if refresh.void else refresh.share.read(refresh.folders, recursive=refresh.recursive)
            refresh._hurry.wait(refresh.seconds)
            if self._closing.is_set():
                return
            if not refresh.void:
                refresh.share.publish(read)
            refresh.completed_at = self.clock()
        finally:  # if S3 could not be read, it frees its place, and nobody is told
            refresh._over.set()
        if self.on_complete:
            event = _completion_event(refresh)
            for _ in range(self.deliveries(refresh)):
                self.on_complete(event)


class _Handler(BaseHTTPRequestHandler):
    """The AWS JSON 1.1 protocol: the operation is in a header, an error's code in `__type`."""

    def __init__(self, gateway: StorageGateway, *args: Any) -> None:
        self.gateway = gateway
        super().__init__(*args)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].removeprefix("StorageGateway_20130630.")
        # AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/storagegateway/...
        key, _, region, *_ = self.headers["Authorization"].partition("Credential=")[2].split("/")
        place = Place(region, self.gateway.account_of(key))
        try:
            status, body = 200, self.gateway.answer(operation, request, place)
        except RefusedError as error:
            message, code, detail, status = error.refusal
            body = {"__type": code, "message": message}
            if detail:
                body["error"] = {"errorCode": detail, "errorDetails": {}}
        if operation == "RefreshCache" and self.gateway.lose_answers:
            return
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Nothing: what happened is in the gateway's calls."""


def _completion_event(refresh: Refresh) -> dict[str, Any]:
    """https://docs.aws.amazon.com/filegateway/latest/files3/monitoring-file-gateway.html#get-notification."""
    assert refresh.started_at
    assert refresh.completed_at
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Storage Gateway Refresh Cache Event",
        "source": "aws.storagegateway",
        "account": refresh.share.place.account,
        "time": _timestamp(refresh.completed_at),
        "region": refresh.share.place.region,
        "resources": [refresh.share.arn, refresh.share.gateway_arn],
        "detail": {
            "event-type": "refresh-complete",
            "notification-id": refresh.notification_id,
            "started": _timestamp(refresh.started_at),
            "completed": _timestamp(refresh.completed_at),
            "folderList": refresh.folder_list,
        },
    }


def _timestamp(at: int) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
