"""US dollars from what was counted, and from list prices. Free tiers are not subtracted."""

from dataclasses import astuple, dataclass

# List prices, us-east-1, noted in November 2026, in US dollars for one. They change: see aws.amazon.com/pricing.
PRICES_AS_OF = "November 2026"
PRICES = {
    "Lambda request": 0.20e-6,
    "Lambda GB-second (arm64)": 13.3334e-6,
    "DynamoDB write unit, on demand": 0.625e-6,
    "DynamoDB read unit, on demand": 0.125e-6,
    "SQS request": 0.40e-6,
    "CloudWatch Logs, GB taken in": 0.50,
    "S3 LIST": 5e-6,
    "S3 HEAD": 0.40e-6,
}

# Assumptions on what Lambda bills, in whole milliseconds at 256 MB.
_MEMORY_GB = 0.25
_ABSORBED_MS, _CALL_MS, _DELIVERY_MS, _COLD_START_MS = 2, 10, 300, 500
ASSUMPTIONS = (
    f"Lambda at 256 MB bills {_ABSORBED_MS} ms an event, {_CALL_MS} ms more for each AWS call, {_DELIVERY_MS} ms for a"
    f" message on the queue, {_COLD_START_MS} ms for a cold start; a message is three SQS requests (send, receive,"
    " delete)"
)

DAYS = 30  # of a month
SECONDS_A_DAY = 86_400
# Lambda waits for messages in five calls at a time, of 20 seconds each, whether there are any or not.
IDLE_POLLS = DAYS * SECONDS_A_DAY // 20 * 5
# Messages that look for lost requests, one every 15 minutes.
SWEEPS_A_DAY = 96


@dataclass
class Counted:
    """What AWS charges for."""

    events: int = 0
    deliveries: int = 0  # of messages on the queue
    calls: int = 0  # of DynamoDB and SQS
    write_units: float = 0
    read_units: float = 0
    log_bytes: float = 0
    cold_starts: int = 0


@dataclass(frozen=True)
class Bill:
    """US dollars."""

    lambda_: float = 0.0
    dynamodb: float = 0.0
    sqs: float = 0.0
    logs: float = 0.0
    s3: float = 0.0

    @property
    def total(self) -> float:
        return float(sum(astuple(self)))


def bill(counted: Counted, times: float = 1, s3: float = 0.0) -> Bill:
    """What was counted, so many times; `s3` is what the gateway's requests cost."""
    milliseconds = (
        counted.events * _ABSORBED_MS
        + counted.calls * _CALL_MS
        + counted.deliveries * _DELIVERY_MS
        + counted.cold_starts * _COLD_START_MS
    )
    gb_seconds = milliseconds / 1000 * _MEMORY_GB
    invocations = counted.events + counted.deliveries
    return Bill(
        lambda_=times * (invocations * PRICES["Lambda request"] + gb_seconds * PRICES["Lambda GB-second (arm64)"]),
        dynamodb=times
        * (
            counted.write_units * PRICES["DynamoDB write unit, on demand"]
            + counted.read_units * PRICES["DynamoDB read unit, on demand"]
        ),
        sqs=times * 3 * counted.deliveries * PRICES["SQS request"],
        logs=times * counted.log_bytes / 1e9 * PRICES["CloudWatch Logs, GB taken in"],
        s3=times * s3,
    )


def idle() -> float:
    """A month of waiting for messages."""
    return IDLE_POLLS * PRICES["SQS request"]


def on_s3(lists: float, heads: float) -> float:
    """What the gateway's requests cost, in US dollars."""
    return lists * PRICES["S3 LIST"] + heads * PRICES["S3 HEAD"]
