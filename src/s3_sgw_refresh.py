"""The refresh function's handler. The action queue invokes it with one message.

If the message fails, SQS delivers it again: after 5 s the first time, and after a longer pause each time.
"""

import os
from functools import cache, partial
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.session import Session

from event_aggregator import aws
from event_aggregator.access_points import AccessPoints
from event_aggregator.aggregate import Aggregator
from event_aggregator.asking import Asker
from event_aggregator.attached import AttachedBuckets
from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import FileShares
from event_aggregator.gateways import Gateways
from event_aggregator.observability import logger, start_log
from event_aggregator.refresh import Refresher
from event_aggregator.regions import Regions, name_of_region
from event_aggregator.request import ActionQueue, seconds_until_retry
from event_aggregator.settings import LEAST_ADVISED_INTERVAL_SECONDS, Settings
from event_aggregator.turns import Rules
from event_aggregator.visible import VisibleEvents
from event_aggregator.waiting import WaitingShares
from event_aggregator.window import Windows
from event_aggregator.writers import Roles

_settings = Settings.read(os.environ)


def _regions() -> Regions:
    """The file shares of every region and account that the settings name."""
    home, makers, roles = aws.region(), {}, {}
    roles_of = {role.split(":")[4]: role for role in _settings.gateway_role_arns}
    ids = _settings.gateway_external_ids
    others = {account: aws.session_in_role(role, ids.get(account, "")) for account, role in roles_of.items()}
    access_points = AccessPoints(lambda account: aws.s3_control(others.get(account, aws.own_session)))
    for account, session in {"": aws.own_session, **others}.items():
        roles[account] = Roles(partial(aws.iam, session), logger.warning)
        for region in _settings.gateway_regions or (home,):
            name = name_of_region(region, account)
            makers[name] = partial(_file_shares, session, region, access_points, "" if name == home else name)
    return Regions(home, makers, roles)


def _file_shares(session: Session, region: str, access_points: AccessPoints, name: str) -> FileShares:
    clients = aws.storage_gateway(session, region), aws.storage_gateway_without_retries(session, region)
    return FileShares(*clients, access_points, logger.warning, name)


start_log(_settings.log_level)
if (_least := min(_settings.min_refresh_interval_seconds.values())) < LEAST_ADVISED_INTERVAL_SECONDS:
    logger.warning(
        f"MIN_REFRESH_INTERVAL_SECONDS is {_least}: AWS asks for"
        f" {LEAST_ADVISED_INTERVAL_SECONDS} s between two refreshes of a share, and an earlier one may have no effect"
    )
_queue = ActionQueue(aws.sqs, _settings.queue_url)


def _make_refresher() -> Refresher:
    dynamodb, table = aws.dynamodb(), _settings.table_name
    windows = Windows(dynamodb, table)
    asker = Asker(
        _regions(),
        windows,
        WaitingShares(dynamodb, table),
        Gateways(dynamodb, table, _queue, Rules.of(_settings), aws.epoch_ms),
        _settings,
        aws.epoch_ms,
        VisibleEvents(aws.events) if _settings.visible_events == "on" else None,
    )
    to_restore = frozenset(arn.rpartition(":")[2] for arn in os.environ.get("REATTACH_BUCKET_ARNS", "").split(","))
    attached = AttachedBuckets(
        os.environ["AGGREGATOR_ARN"], cache(aws.client_without_retries), to_restore, _queue.request_full_refresh
    )
    return Refresher(Aggregator(windows, _queue, _settings, aws.epoch_ms), asker, attached.check)


_refresher = _make_refresher()
_processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Any:
    return process_partial_response(event, _handle, _processor, context)


def _handle(record: SQSRecord, lambda_context: LambdaContext) -> None:
    bucket = record.message_attributes["bucket-name"]
    time_left = lambda_context.get_remaining_time_in_millis()
    try:
        _refresher.handle(record.body, bucket.string_value if bucket else None, record.message_id, time_left)
    except Exception:
        logger.exception("The message failed; SQS will deliver it again", message_id=record.message_id)
        _deliver_again_soon(record)
        raise


def _deliver_again_soon(record: SQSRecord) -> None:
    seconds = seconds_until_retry(int(record.attributes.approximate_receive_count))
    try:
        _queue.deliver_again(record.receipt_handle, seconds=seconds)
    except AWS_ERRORS as error:
        logger.warning(
            f"SQS will deliver the message again only after its visibility timeout: {error}",
            message_id=record.message_id,
        )
