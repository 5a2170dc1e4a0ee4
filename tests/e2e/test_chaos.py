"""Hundreds of changes on several buckets and shares, while many of the functions' calls fail, some of them after they
took effect. Every call to DynamoDB, SQS and Storage Gateway passes a proxy. Seeds are printed with a failure.
"""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dev.local.gateway import NOT_CACHED, StorageGateway
from dev.local.ministack import MiniStack
from tests.e2e.conftest import FUNCTIONS, Bucket
from tests.e2e.proxy import Proxy

CHANGES = 100


@pytest.fixture
def gateway_proxy(aws: MiniStack, gateway: StorageGateway, stack: Any) -> Iterator[Proxy]:  # noqa: ARG001
    """Stands between the refresh function and the simulated Storage Gateway for the length of a test."""
    functions = aws.client("lambda")
    _, refresh = FUNCTIONS

    def reach(url: str) -> None:
        environment = functions.get_function_configuration(FunctionName=refresh)["Environment"]["Variables"]
        variables = environment | {"AWS_ENDPOINT_URL_STORAGE_GATEWAY": url}
        functions.update_function_configuration(FunctionName=refresh, Environment={"Variables": variables})

    with Proxy(gateway.endpoint_url) as proxy:
        reach(proxy.endpoint_url)
        yield proxy
        reach(gateway.endpoint_url)


@pytest.fixture
def buckets(make_bucket: Any) -> list[Bucket]:
    return [make_bucket() for _ in range(3)]


@pytest.fixture
def proxies(proxy: Proxy, gateway_proxy: Proxy) -> tuple[Proxy, Proxy]:
    return proxy, gateway_proxy


@pytest.mark.parametrize(("rate", "seed"), [(0.1, 1), (0.3, 2)])
def test_whatever_calls_fail_every_share_equals_its_bucket_in_the_end(
    aws: MiniStack, buckets: list[Bucket], proxies: tuple[Proxy, Proxy], rate: float, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    shares = {
        bucket.name: [bucket.share(uncached=NOT_CACHED), bucket.share("a", kind="SMB", gateway_id="sgw-2")]
        for bucket in buckets
    }
    for faulty in proxies:
        faulty.fail(rate, seed)
    try:
        for _ in range(CHANGES):
            write_or_delete(chance, chance.choice(buckets))
            time.sleep(0.05)  # the writers' own pace
    finally:
        refused = sum(sum(faulty.refused.values()) for faulty in proxies)
        for faulty in proxies:
            faulty.fail(0, seed)
    for bucket in buckets:
        bucket.becomes_visible(*shares[bucket.name])
    assert refused > CHANGES * rate / 10, "the faults must have been felt"
    assert dead_letters(aws) == 0


def write_or_delete(chance: random.Random, bucket: Bucket) -> None:
    folder = "/".join(chance.choice("abc") for _ in range(chance.randrange(4)))
    key = f"{folder}/{chance.randrange(5)}.dat".lstrip("/")
    if chance.random() < 0.3:
        bucket.delete(key)
    else:
        bucket.put(key)


def dead_letters(aws: MiniStack) -> int:
    sqs = aws.client("sqs")
    queue = sqs.get_queue_url(QueueName="S3EventAggregatorActionQueueDeadLetter")["QueueUrl"]
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    return int(counts["ApproximateNumberOfMessages"])
