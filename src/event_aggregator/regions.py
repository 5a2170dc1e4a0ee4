"""The regions where file shares are: the regions and accounts whose gateways may show a bucket.

A region is named by its region, eu-west-1, and in another account than the function's by both, eu-west-1:123456789012.
`home` is the function's own region and account: only there is it told of completed refreshes, and the keys of the
shares there do not name it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.table import Key
from event_aggregator.writers import Roles


class UnnamedRegionError(Exception):
    """The settings name no such region, any more or not yet: a roll-out of settings takes a moment."""


def name_of_region(region: str, account: str) -> str:
    """Of the gateways in a region; `account` is empty for the function's own."""
    return f"{region}:{account}" if account else region


class Regions:
    """The file shares of all regions; each region's are made when they are needed. Methods raise botocore's errors.

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
        """Raises UnnamedRegionError."""
        if name not in self._makers:
            raise UnnamedRegionError(f"the settings name no gateways in {name}")
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def of(self, key: Key) -> FileShares:
        """The file shares of the region that a share is in. Raises UnnamedRegionError."""
        return self.at(key.region or self.home)

    def reports_completions(self, share: FileShare) -> bool:
        """Whether an event tells when a refresh of the share is complete."""
        return not share.region

    def left_out(self, shares: Sequence[FileShare], region: str, role_id: str, others: str) -> list[FileShare]:
        """Those of `shares`, of `region` and a bucket, that need no refresh of what the role with this id wrote.

        A gateway writes by the role of the share that was written through, and that share knows of it. `others` is the
        setting about the other shares: with `off` none of them is refreshed either, if the role is a share's. What
        another role wrote is news for every share.
        """
        try:
            if others == "off" and self._is_role_of_a_share(role_id, shares, region):
                return list(shares)
            writer = self._writer(shares, region, role_id, lone=others != "on")
        except AWS_ERRORS:  # it is not known which other shares there are, or whose: nobody is left out
            return []
        return [writer] if writer else []

    def _is_role_of_a_share(self, role_id: str, shares: Sequence[FileShare], region: str) -> bool:
        return any(
            role_id and self._role_id(share) == role_id
            for share in chain(shares, self._in_other_regions(shares, region))
        )

    def _writer(self, shares: Sequence[FileShare], region: str, role_id: str, *, lone: bool) -> FileShare | None:
        """The share through which the role with this id wrote: the one whose role that is.

        Or, with `lone`, the only share that there is, if IAM does not tell its role's id. None if there may be another:
        two with one role, one that cannot be described, a region that cannot be listed.
        """
        ids = {share.arn: self._role_id(share) for share in shares}
        found = [share for share in shares if role_id and ids[share.arn] == role_id]
        if lone and not found and len(shares) == 1 and not ids[shares[0].arn]:
            found = list(shares)
        if len(found) != 1 or any(share.unknown for share in shares):
            return None
        writer = found[0]
        for other in self._in_other_regions(shares, region):
            if other.unknown or other.role == writer.role or not ids[writer.arn]:
                return None
        return writer

    def _in_other_regions(self, shares: Sequence[FileShare], region: str) -> Iterator[FileShare]:
        """The file shares of all other regions that show the same bucket."""
        for name in self.names:
            if name != region and shares:
                yield from self.at(name).showing(shares[0].bucket)

    def _role_id(self, share: FileShare) -> str:
        roles = self._roles.get(share.region.partition(":")[2])
        return roles.id_of(share.role) if roles and share.role else ""
