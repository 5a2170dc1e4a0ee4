"""The aggregator Lambda: S3 invokes it with each change; at most one change of a refresh window sends a request.

It returns when every change is in a window or covered, and raises otherwise: Lambda then invokes it again with the
same event, twice, and puts the event on the action queue if that does not help.
"""

import gc

gc.disable()  # what is made while the function starts stays: looking through it for garbage is a twentieth of the start

import os
from typing import TYPE_CHECKING, Any

from event_aggregator import aws
from event_aggregator.aggregate import Aggregator
from event_aggregator.observability import logger, start_log
from event_aggregator.request import ActionQueue
from event_aggregator.settings import Settings
from event_aggregator.window import Windows

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_settings = Settings.read(os.environ)
start_log(_settings.log_level)
_aggregator = Aggregator(
    Windows(aws.dynamodb(), _settings.table_name),
    ActionQueue(aws.sqs, _settings.queue_url),
    _settings,
    aws.epoch_ms,
)
gc.freeze()
gc.enable()


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: "LambdaContext") -> None:
    _aggregator.aggregate_event(event, context.get_remaining_time_in_millis())
