"""The places where file shares are: the regions and accounts whose gateways may show a bucket.

A place is named by its region, eu-west-1, and in another account than the function's by both, eu-west-1:123456789012.
`home` is the function's own region and account: only there is it told of completed refreshes, and the keys of the
shares there do not name it.
"""

from collections.abc import Callable, Mapping, Sequence

from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.table import Key
from event_aggregator.writers import Roles


class UnnamedPlaceError(Exception):
    """The settings name no such place, any more or not yet: a roll-out of settings takes a moment."""


def name_of_place(region: str, account: str) -> str:
    """Of the gateways in a region; `account` is empty for the function's own."""
    return f"{region}:{account}" if account else region


class Places:
    """The file shares of all places; each place's are made when they are needed. Methods raise botocore's errors.

    `roles` are those of the shares, by account, which is empty for the function's own.
    """

    def __init__(
        self, home: str, makers: Mapping[str, Callable[[], FileShares]], roles: Mapping[str, Roles] | None = None
    ) -> None:
        self.home = home
        self.names = tuple(makers)
        self._makers = makers
        self._roles = roles or {}
        self._made: dict[str, FileShares] = {}

    def at(self, name: str) -> FileShares:
        """Raises UnnamedPlaceError."""
        if name not in self._makers:
            raise UnnamedPlaceError(f"the settings name no gateways in {name}")
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def of(self, key: Key) -> FileShares:
        """The file shares of the place that a share is in. Raises UnnamedPlaceError."""
        return self.at(key.place or self.home)

    def is_told_of(self, share: FileShare) -> bool:
        """Whether an event tells when a refresh of the share is complete."""
        return not share.place

    def writer(self, shares: Sequence[FileShare], place: str, role_id: str, *, lone: bool) -> FileShare | None:
        """The one of `shares`, those of `place` that show a bucket, through which the role with this id wrote.

        It knows what was written; every other share does not. It is the one whose role that is; or, with `lone`, the
        only share that there is, if IAM does not tell its role's id. None if there may be another: two with one role,
        one that cannot be described, a place that cannot be listed.
        """
        try:
            ids = {share.arn: self._role_id(share) for share in shares}
            found = [share for share in shares if role_id and ids[share.arn] == role_id]
            if lone and not found and len(shares) == 1 and not ids[shares[0].arn]:
                found = list(shares)
            if len(found) != 1 or any(share.unknown for share in shares):
                return None
            elsewhere = [self.at(name).showing(found[0].bucket) for name in self.names if name != place]
        except AWS_ERRORS:  # it is not known which other shares there are, or whose: nobody is left out
            return None
        others = [share for listed in elsewhere for share in listed]
        if any(other.unknown or other.role == found[0].role or not ids[found[0].arn] for other in others):
            return None
        return found[0]

    def _role_id(self, share: FileShare) -> str:
        roles = self._roles.get(share.place.partition(":")[2])
        return roles.id_of(share.role) if roles and share.role else ""
