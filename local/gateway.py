"""A simulated AWS Storage Gateway: file shares that show a bucket, stale until they are refreshed, as real ones are.

`Share` is a file share with its folder cache, without HTTP and without AWS. `StorageGateway` is the service that the
AWS SDK talks to, on loopback. Both keep the rules of the API reference (RefreshCache, ListFileShares,
Describe{NFS,SMB}FileShares) and of the S3 File Gateway user guide; where these are silent, they do what is worst for
the caller, and say so.
"""

import json
import threading
import time
import uuid
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple, Self

Kind = Literal["NFS", "SMB"]
Objects = tuple[Sequence[str], Sequence[str]]
"""The keys and the common prefixes right under a prefix: what ListObjectsV2 answers with Delimiter="/"."""

REGION, ACCOUNT = "us-east-1", "000000000000"
LIST_PAGE = 1000
MAX_FOLDERS = 50
MAX_ARNS = 10
MAX_IN_PROGRESS = 2


class RefusedError(Exception):
    """What the service answers instead of doing as asked: an error of the API, perhaps with an error code inside."""

    def __init__(self, message: str, *, code: str = "InvalidGatewayRequestException", detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail


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
    reaches a folder only through its parents: a new one is invisible until its parent is listed again. Objects with an
    empty name in their path ("a//b", "/a") have no place in a file system and are never shown.

    `lists` and `heads` count what the refreshes have cost: a LIST for each 1,000 entries, a HEAD for each object.
    """

    list_objects: Callable[[str], Objects]
    prefix: str = ""  # "" or "photos/"
    # A folder in FolderList that is not cached: AWS does not say what happens. Either nothing, or the call is refused.
    uncached: Literal["ignore", "refuse"] = "ignore"
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
            raise RefusedError(f"FolderList must hold 1 to {MAX_FOLDERS} folders.", code="ValidationException")
        for name in folder_list:
            if name != "/" and name.strip("/") != name:
                raise RefusedError(f"The folder {name} begins or ends with a slash.", detail="InvalidParameters")
        folders = ["" if name == "/" else name for name in folder_list]
        with self._lock:
            unknown = [folder for folder in folders if folder and folder not in self._cache]
        if unknown and self.uncached == "refuse":
            raise RefusedError(f"The folders {unknown} are not in the cache.", detail="InvalidParameters")
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
        """Drops empty names: of the object that marks the folder itself, and what follows a doubled slash."""
        start = len(self.prefix) + (len(folder) + 1 if folder else 0)
        return Listing(
            frozenset(key[start:] for key in keys) - {""}, frozenset(prefix[start:-1] for prefix in prefixes) - {""}
        )


def _path(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


# ---- The service


class Place(NamedTuple):
    """A region of an account: where a share is, or by its signature a call goes."""

    region: str = REGION
    account: str = ACCOUNT

    def arn(self, resource: str) -> str:
        return f"arn:aws:storagegateway:{self.region}:{self.account}:{resource}"


@dataclass(eq=False, kw_only=True)
class FileShare(Share):
    """A share as the service knows it. `status` may be set at any time; reading is for its clients (see Share)."""

    kind: Kind
    share_id: str
    gateway_arn: str
    location_arn: str
    status: str = "AVAILABLE"
    place: Place
    role: str = "StorageGatewayBucketAccessRole"
    _refusals: deque[str] = field(default_factory=deque, init=False, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def arn(self) -> str:
        return self.place.arn(f"share/{self.share_id}")

    def refuse(self, times: int, message: str) -> None:
        """Refuse the next RefreshCache calls that would be accepted otherwise."""
        self._refusals.extend([message] * times)


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


@dataclass
class Refresh:
    """A refresh that was accepted, with its times in epoch milliseconds; no `completed_at`: it is in progress."""

    notification_id: str
    share: FileShare
    folder_list: list[str]
    folders: list[str]
    recursive: bool
    accepted_at: int
    started_at: int | None = None
    completed_at: int | None = None


class StorageGateway:
    """The Storage Gateway service on loopback: `with StorageGateway(s3) as gateway`, then `gateway.endpoint_url`.

    It is that of every region and account: a call sees the shares of the region for which it is signed, and of the
    account whose key has signed it, and no others. `account_of` says which that is (all are of one, if it is left out);
    the signature itself is not verified.

    A refresh runs in the background, one of a share after the other. It reads S3 when it starts and shows clients what
    it read `refresh_seconds` later, when it completes: objects written in between may be missing from it, as on AWS.

    Set on a running gateway: `page_size` of ListFileShares, `refresh_seconds`, `outage` (every call fails), `down`
    (regions in which every call fails), `lose_answers` (RefreshCache is carried out, but its caller never hears of it)
    and `on_complete`, which gets each refresh's completion event as EventBridge would deliver it. `calls` and
    `refreshes` tell what happened so far.
    """

    def __init__(
        self,
        s3: Any,
        *,
        page_size: int = 100,
        refresh_seconds: float = 0.2,
        account_of: Callable[[str], str] = lambda _: ACCOUNT,
    ) -> None:
        self.page_size = page_size
        self.refresh_seconds = refresh_seconds
        self.account_of = account_of
        self.outage = False
        self.down: set[str] = set()
        self.lose_answers = False
        self.on_complete: Callable[[dict[str, Any]], object] | None = None
        self.shares: dict[str, FileShare] = {}  # by ARN; remove one as if it was deleted
        self.calls: list[Call] = []
        self.refreshes: list[Refresh] = []
        self._s3 = s3
        self._offline: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._workers: list[threading.Thread] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._start(self._server.serve_forever, 0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        for worker in self._workers:
            worker.join()

    def add_share(  # noqa: PLR0913
        self,
        bucket: str,
        prefix: str = "",
        *,
        kind: Kind = "NFS",
        gateway_id: str = "sgw-12A3456B",
        status: str = "AVAILABLE",
        location_arn: str | None = None,
        uncached: Literal["ignore", "refuse"] = "ignore",
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

    def set_online(self, gateway_id: str, online: bool) -> None:
        """Connect or disconnect a gateway; one that is offline refuses every RefreshCache."""
        arn = Place().arn(f"gateway/{gateway_id}")
        if online:
            self._offline.discard(arn)
        else:
            self._offline.add(arn)

    def answer(self, operation: str, request: dict[str, Any], place: Place) -> dict[str, Any]:
        """Carry out one call to the service of a region and account and note it down. Raises RefusedError."""
        operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "ListFileShares": partial(self._list, place),
            "DescribeNFSFileShares": partial(self._describe, place, "NFS"),
            "DescribeSMBFileShares": partial(self._describe, place, "SMB"),
            "RefreshCache": partial(self._refresh_cache, place),
        }
        arns = request.get("FileShareARNList", [request["FileShareARN"]] if "FileShareARN" in request else [])
        folders = request.get("FolderList", [])
        call = partial(Call, _now(), operation, tuple(arns), tuple(folders), request.get("Recursive"))
        with self._lock:
            try:
                if self.outage or place.region in self.down:
                    raise RefusedError("The service is down.", code="InternalServerError")
                if operation not in operations:
                    raise RefusedError(f"{operation} is not simulated.", code="UnknownOperationException")
                answer = operations[operation](request)
            except RefusedError as error:
                self.calls.append(call(error.code, str(error)))
                raise
            self.calls.append(call("accepted"))
            return answer

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
            raise RefusedError(f"FileShareARNList must hold 1 to {MAX_ARNS} ARNs.", code="ValidationException")
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

    def _refresh_cache(self, place: Place, request: dict[str, Any]) -> dict[str, Any]:
        share = self._share(place, request["FileShareARN"])
        if share.gateway_arn in self._offline:
            raise RefusedError("The specified gateway is not connected.", detail="GatewayNotConnected")
        if share.status != "AVAILABLE":
            raise RefusedError(f"The file share is {share.status}.", detail="InvalidParameters")
        folder_list = request.get("FolderList", ["/"])
        folders = share.accept(folder_list)
        if share._refusals:
            raise RefusedError(share._refusals.popleft())
        running = [refresh for refresh in self.refreshes if refresh.share is share and not refresh.completed_at]
        if len(running) >= MAX_IN_PROGRESS:
            raise RefusedError("Too many requests have been sent to server.")
        refresh = Refresh(str(uuid.uuid4()), share, folder_list, folders, request.get("Recursive", True), _now())
        self.refreshes.append(refresh)
        self._start(self._run, refresh)
        return {"FileShareARN": share.arn, "NotificationId": refresh.notification_id}

    def _share(self, place: Place, arn: str, kind: Kind | None = None) -> FileShare:
        share = self.shares.get(arn)
        if share is None or share.place != place or kind not in (None, share.kind):
            raise RefusedError("The specified file share was not found.", detail="FileShareNotFound")
        return share

    def _run(self, refresh: Refresh) -> None:
        share = refresh.share
        with share._turn:  # "needs to complete one process before starting another" (user guide, refresh-cache)
            refresh.started_at = _now()
            read = share.read(refresh.folders, recursive=refresh.recursive)
            if self._closing.wait(self.refresh_seconds):
                return
            share.publish(read)
            refresh.completed_at = _now()
        if self.on_complete:
            self.on_complete(_completion_event(refresh))

    def _start(self, work: Callable[..., None], argument: object) -> None:
        worker = threading.Thread(target=work, args=(argument,), daemon=True)
        worker.start()
        self._workers.append(worker)


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
            status = 500 if error.code == "InternalServerError" else 400
            body = {"__type": error.code, "message": str(error)}
            if error.detail:
                body["error"] = {"errorCode": error.detail, "errorDetails": {}}
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


def _now() -> int:
    return time.time_ns() // 1_000_000


def _timestamp(at: int) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
