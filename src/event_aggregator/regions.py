"""The regions (in this and other accounts) whose gateways may show a bucket.

The name of a region is eu-west-1, or in another account eu-west-1:123456789012. `home` is the function's own region and
account. Completion events come from there only, and the keys of its shares do not name it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.table import Key
from event_aggregator.writers import Roles


class UnnamedRegionError(Exception):
    """The settings do not name the region. During a rollout some functions have other settings."""


def name_of_region(region: str, account: str) -> str:
    """The name of a region of an account; `account` is empty for the function's own."""
    return f"{region}:{account}" if account else region


class Regions:
    """The FileShares of each region, made when they are needed. Methods raise botocore's errors.

    `makers` are by the region's name. `roles` are by account, which is empty for the function's own.
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
        """Whether the function receives completion events of the share."""
        return not share.region

    def left_out(self, shares: Sequence[FileShare], region: str, role_id: str, others: str) -> list[FileShare]:
        """Which `shares` of a bucket in `region` need no refresh of what the role with this id wrote.

        A gateway writes by the role of the share that a client wrote to, and that share knows the file. `others` is the
        setting REFRESH_OTHER_GATEWAYS: with `off`, no other share is refreshed either. If no share has this role,
        somebody else wrote the file, and no share knows it.
        """
        try:
            if others == "off" and self._is_role_of_a_share(role_id, shares, region):
                return list(shares)
            writer = self._writer(shares, region, role_id, only_share_counts=others != "on")
        except AWS_ERRORS:  # the other shares, or a role's id, are unknown: no share is left out
            return []
        return [writer] if writer else []

    def _is_role_of_a_share(self, role_id: str, shares: Sequence[FileShare], region: str) -> bool:
        return any(
            role_id and self._role_id(share) == role_id
            for share in chain(shares, self._in_other_regions(shares, region))
        )

    def _writer(
        self, shares: Sequence[FileShare], region: str, role_id: str, *, only_share_counts: bool
    ) -> FileShare | None:
        """The share that a client wrote to: the one with the role that has this id.

        With `only_share_counts` also the bucket's only share, if IAM does not tell its role's id. None if it is not
        certain: two shares have the role, a share cannot be described, a region cannot be listed.
        """
        ids = {share.arn: self._role_id(share) for share in shares}
        found = [share for share in shares if role_id and ids[share.arn] == role_id]
        if only_share_counts and not found and len(shares) == 1 and not ids[shares[0].arn]:
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
