"""The ids of the roles with which gateways write (IAM).

S3's event holds the id of the writer's role. A gateway writes with the role of the share (API reference,
DescribeNFSFileShares, Role).
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from event_aggregator.failures import Failure, meaning


class Roles:
    """The ids of an account's roles. They are remembered. `warn` is called if IAM does not return an id."""

    def __init__(self, make_client: Callable[[], Any], warn: Callable[[str], None]) -> None:
        self._make_client = make_client
        self._warn = warn
        self._ids: dict[str, str] = {}
        self._is_unreachable = False

    @cached_property
    def _client(self) -> Any:
        """Made when it is needed: only for changes that a gateway may have written."""
        return self._make_client()

    def id_of(self, arn: str) -> str:
        """The role's id; empty if IAM does not tell it. Raises botocore's errors for failures that pass."""
        if arn not in self._ids and not self._is_unreachable:
            try:
                self._ids[arn] = self._client.get_role(RoleName=arn.rpartition("/")[2])["Role"]["RoleId"]
            except ClientError as error:
                if meaning(error) is Failure.PASSES:
                    raise
                self._ids[arn] = ""
                self._warn_unknown(arn, error)
            except BotoCoreError as error:  # in a VPC without a route to IAM, each call would take seconds
                self._is_unreachable = True
                self._warn_unknown(arn, error)
        return self._ids.get(arn, "")

    def _warn_unknown(self, arn: str, error: Exception) -> None:
        self._warn(
            f"Writes through the file share with the role {arn} may refresh that share too, because IAM did not return"
            f" the role's id: {error}"
        )
