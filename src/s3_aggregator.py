"""The aggregator: S3 invokes this function with each change. Only the change that opens a window sends a request.

It returns when every change is in a window or covered by a refresh. Otherwise it raises, and Lambda invokes it again
with the same event, at most twice. If that fails too, Lambda puts the event on the action queue.
"""

import gc

gc.disable()  # what the start makes stays in use: collecting garbage would take a twentieth of the start's time

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
