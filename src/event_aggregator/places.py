"""The places where file shares are: the regions and accounts whose gateways may show a bucket.

The guarantee: a place that cannot be asked keeps the shares of no other place from being refreshed. A place is named by
its region, eu-west-1, and in another account than the function's by both, eu-west-1:123456789012.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from event_aggregator.aws import AWS_ERRORS
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.folders import Round
from event_aggregator.writers import Roles, written_through

# That we may not ask or assume the role, or that the account has not enabled the region.
_DENIALS = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "InvalidClientTokenId",
        "OptInRequired",
        "UnrecognizedClientException",
    }
)


def name_of_place(region: str, account: str) -> str:
    """Of the gateways in a region; `account` is empty for the function's own."""
    return f"{region}:{account}" if account else region


@dataclass(frozen=True, slots=True)
class Listing:
    """The shares that were found, and the places that could not be asked, each with its failure, or None: no time."""

    shares: list[FileShare]
    unlisted: Mapping[str, Exception | None] = field(default_factory=dict)


class Places:
    """The file shares of all places; each place's are made when they are needed. Methods raise botocore's errors.

    `home` is the function's own region and account: only there is it told of completed refreshes, and the keys of the
    shares there do not name it. `roles` are those of the shares, by account, which is empty for the function's own.
    """

    def __init__(
        self, home: str, makers: Mapping[str, Callable[[], FileShares]], roles: Mapping[str, Roles] | None = None
    ) -> None:
        self.home = home
        self._makers = makers
        self._roles = roles or {}
        self._made: dict[str, FileShares] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._makers

    def showing(self, bucket: str, only: str, is_late: Callable[[], bool]) -> Listing:
        """The file shares that show `bucket` or a part of it: in the place `only`, or in all of them.

        A place that cannot be asked is in the answer, but for the only one there is: its failure is raised. When it
        `is_late`, the next place is not asked any more.
        """
        shares: list[FileShare] = []
        unlisted: dict[str, Exception | None] = {}
        for number, name in enumerate([only] if only else self._makers):
            if number and is_late():
                unlisted[name] = None
                continue
            try:
                shares += self._at(name).showing(bucket)
            except AWS_ERRORS as error:
                if len(self._makers) == 1:
                    raise
                unlisted[name] = error
        return Listing(shares, unlisted)

    def is_gone(self, name: str, share_id: str) -> bool:
        """Whether the place has no such share, or one that is being deleted."""
        return self._at(name).is_gone(share_id)

    def key_of(self, arn: str) -> str | None:
        """The key in the window table of the file share with this ARN, if it is known or can be found."""
        names = [name for name in self._makers if f":{name}:" in arn]  # both, if it is of another account
        return self._at(max(names, key=len)).key_of(arn) if names else None

    def written_through(self, shares: Sequence[FileShare], role_id: str) -> FileShare | None:
        """The one of `shares`, all that show a bucket, through which the role with this id wrote, if it can be told."""

        def id_of(share: FileShare) -> str:
            roles = self._roles.get(share.away.partition(":")[2])
            return roles.id_of(share.role) if roles else ""

        return written_through(shares, role_id, id_of)

    def refresh(self, share: FileShare, round_: Round) -> str:
        """Ask for a refresh of some of what `share` shows; the notification id. Raises one of AWS_ERRORS."""
        return self._at(share.away or self.home).refresh(share, round_)

    def _at(self, name: str) -> FileShares:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]


def is_denial(error: Exception) -> bool:
    """Whether it takes somebody's doing to have this pass."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _DENIALS
