"""What CloudFormation makes of template.yaml, without CloudFormation: the properties of its resources."""

from typing import Any

from commands.check import expected
from commands.deploy.template import TEMPLATE as FILE
from commands.deploy.template import parsed

TEMPLATE = parsed(FILE.read_text())
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
REGION, ACCOUNT = "us-east-1", "123456789012"


def values_of(given: dict[str, Any]) -> dict[str, Any]:
    """These parameters, and the others at their defaults."""
    values = {name: parameter.get("Default", name) for name, parameter in PARAMETERS.items()}
    own = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "NamePrefix": "dev-"}
    return expected.values_of(TEMPLATE, values) | own | given


def resources(kind: str, **given: Any) -> dict[str, dict[str, Any]]:
    """The properties of each resource of this kind, by its name, with these parameters."""
    values = values_of(given)
    names = {"Aggregator": "S3EventAggregator", "Refresh": "S3StorageGatewayRefresh"}
    queues = {"Queue": "S3EventAggregatorActionQueue", "DeadLetterQueue": "S3EventAggregatorActionQueueDeadLetter"}
    ids = {name: f"{values['NamePrefix']}{id_}" for name, id_ in {**names, **queues}.items()}
    found = expected.resources(TEMPLATE, values, ids)
    return {resource.name: resource.properties for resource in found if resource.type == kind}


def statements(role: str, **given: Any) -> dict[str, dict[str, Any]]:
    """What a role may do, by Sid."""
    [policy] = resources("AWS::IAM::Role", **given)[role]["Policies"]
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}
