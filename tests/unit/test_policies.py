"""Parliament, the linter of IAM policies, over every policy of iam/ as it is deployed.

https://github.com/duo-labs/parliament
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from scripts import stack_files

ROOT = Path(__file__).parents[2]
POLICIES = sorted((ROOT / "iam").glob("*.json"))
VALUES = {
    "Partition": "aws",
    "Region": "us-east-1",
    "Account": "123456789012",
    "NamePrefix": "",
    "Table": "S3EventAggregator",
    "Queue": "S3EventAggregatorActionQueue",
    "Function": "S3EventAggregator",
    "CompletionRule": "S3EventAggregatorRefreshComplete",
    "SweepRule": "S3EventAggregatorSweep",
    "GatewayRegions": "us-east-1,eu-west-1",
    "GatewayRoles": "arn:aws:iam::210987654321:role/gateways,arn:aws:iam::999999999999:role/gateways",
    "KmsKey": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
}
# It knows no trust policies: the role that one hangs on is their resource.
# And AWS lets a subnet be another account's, so that the policy it names for this is on all resources.
EXPECTED = {
    # Of a narrower scope AWS says only that it hides composite alarms (API reference, DescribeAlarms).
    "operator": ["RESOURCE_STAR: ['cloudwatch:DescribeAlarms']"],
    "lambda-trust": ["MALFORMED: Statement contains neither Resource nor NotResource"],
    "assume-gateway-roles": ["CREDENTIALS_EXPOSURE: "],  # that AssumeRole gives credentials is what it is for
    "vpc": [
        "RESOURCE_STAR: ['ec2:AssignPrivateIpAddresses', 'ec2:CreateNetworkInterface', 'ec2:DeleteNetworkInterface',"
        " 'ec2:UnassignPrivateIpAddresses']"
    ],
}


def findings(folder: Path, policies: dict[str, stack_files.Json]) -> dict[str, list[str]]:
    """Of each policy, by its name, in which there are any."""
    for name, policy in policies.items():
        (folder / f"{name}.json").write_text(json.dumps(policy))
    # A process of its own, because it imports pkg_resources, which warns of its end.
    done = subprocess.run(
        [Path(sys.executable).parent / "parliament", "--json", "--include-community-auditors", "--directory", folder],
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == bool(found), done.stderr
    by_name: dict[str, list[str]] = {}
    for finding in found:
        name = Path(finding["location"]["filepath"]).stem
        by_name.setdefault(name, []).append(f"{finding['issue']}: {finding['detail']}")
    return by_name


def test_the_linter_finds_nothing_else_in_the_policies(tmp_path: Path) -> None:
    policies = {path.stem: stack_files.render(path.read_text(), VALUES) for path in POLICIES}
    assert findings(tmp_path, policies) == EXPECTED


def documented() -> list[stack_files.Json]:
    """The trust policy and the policy that docs/other-accounts.md has people paste."""
    text = (ROOT / "docs/other-accounts.md").read_text()
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def test_the_role_of_another_account_is_trusted_by_it_to_nobody_but_the_refresh_function() -> None:
    [statement] = documented()[0]["Statement"]
    assert statement["Action"] == "sts:AssumeRole"
    assert statement["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
    role = "arn:aws:iam::111111111111:role/S3AggregatorActionLambdaRole"
    assert statement["Condition"] == {"ArnEquals": {"aws:PrincipalArn": role}}


def test_the_role_of_another_account_may_do_there_what_the_refresh_function_may_here(tmp_path: Path) -> None:
    values = VALUES | {"GatewayRegions": "us-east-1", "Account": "222222222222"}
    names = ("sgw-refresh", "access-points", "share-roles")
    here = [stack_files.render((ROOT / "iam" / f"{name}.json").read_text(), values) for name in names]
    assert documented()[1] == stack_files.join_policies(here)
    assert findings(tmp_path, {"documented": documented()[1]}) == {}


def test_the_linter_finds_an_action_that_does_not_exist_and_one_on_another_services_resource(
    tmp_path: Path,
) -> None:
    table = "arn:aws:dynamodb:us-east-1:123456789012:table/T"
    statements = [
        {"Effect": "Allow", "Action": action, "Resource": table} for action in ("sqs:SendMesage", "sqs:SendMessage")
    ]

    [[unknown, mismatch]] = findings(tmp_path, {"wrong": {"Version": "2012-10-17", "Statement": statements}}).values()

    assert unknown == "UNKNOWN_ACTION: Unknown action sqs:SendMesage"
    assert mismatch.startswith("RESOURCE_MISMATCH: ")
