"""The template, and what deploys it, on another emulator of AWS: moto's CloudFormation.

How far that goes: it leaves out the kinds of resources that it does not know (UNKNOWN). It takes the default of a list
for a text, and tells a list's value as Python prints it, so that each run gives all lists. It does not see that only a
parameter changes, and does not tag functions with the name of their stack, as CloudFormation does.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from commands.deploy.__main__ import main
from tests.unit.deployed import TEMPLATE

UNKNOWN = {"AWS::CloudWatch::Alarm", "AWS::Lambda::EventInvokeConfig", "AWS::SQS::QueuePolicy"}
LISTS = {
    "--gateway-regions": "us-east-1,eu-west-1",
    "--gateway-role-arns": "arn:aws:iam::210987654321:role/a",
    "--gateway-external-ids": "210987654321=secret",
    "--reattach": "my-bucket",
    "--subnet-ids": "subnet-1a",
    "--security-group-ids": "sg-1a",
}


@pytest.fixture(autouse=True)
def account() -> Iterator[None]:
    with mock_aws(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tried to parse")
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="my-bucket")
        yield


def client(service: str) -> Any:
    make: Any = boto3.client
    return make(service, region_name="us-east-1")


def variables(function: str) -> dict[str, str]:
    found = client("lambda").get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    return dict(found)


def test_moto_makes_and_deletes_the_stack(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [word for flag in LISTS.items() for word in flag]
    assert main(["create-stack.sh", "--bucket", "my-bucket", *flags]) == 0
    made = client("cloudformation").describe_stack_resources(StackName="s3-event-aggregator")["StackResources"]
    kinds = {resource["Type"] for resource in TEMPLATE["Resources"].values()}
    assert kinds - {resource.get("ResourceType") for resource in made} == UNKNOWN
    for function in ("S3EventAggregator", "S3StorageGatewayRefresh"):
        assert variables(function)["GATEWAY_REGIONS"] == "us-east-1,eu-west-1"
        arn = client("lambda").get_function_configuration(FunctionName=function)["FunctionArn"]
        client("lambda").tag_resource(Resource=arn, Tags={"aws:cloudformation:stack-name": "s3-event-aggregator"})
    [entry] = client("s3").get_bucket_notification_configuration(Bucket="my-bucket")["LambdaFunctionConfigurations"]
    assert entry["LambdaFunctionArn"].endswith(":function:S3EventAggregator")

    assert main(["create-stack.sh", *flags]) == 0
    assert "keep    stack s3-event-aggregator\nkeep    notification of my-bucket\n" in capsys.readouterr().out

    assert main(["delete-stack.sh"]) == 1, "nobody is there to be asked"
    assert main(["delete-stack.sh", "--yes"]) == 0
    assert client("lambda").list_functions()["Functions"] == []
    assert [bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]] == ["my-bucket"]
