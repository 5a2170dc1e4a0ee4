"""Parliament, the linter of IAM policies, over every policy of iam/ as it is deployed.

https://github.com/duo-labs/parliament
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import stack_files

POLICIES = sorted((Path(__file__).parents[2] / "iam").glob("*.json"))
VALUES = {
    "Partition": "aws",
    "Region": "us-east-1",
    "Account": "123456789012",
    "Table": "S3EventAggregator",
    "Queue": "S3EventAggregatorActionQueue",
    "Function": "S3EventAggregator",
    "CompletionRule": "S3EventAggregatorRefreshComplete",
    "SweepRule": "S3EventAggregatorSweep",
    "KmsKey": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
}
# It knows no trust policies: the role that one hangs on is their resource.
# And AWS lets a subnet be another account's, so that the policy it names for this is on all resources.
EXPECTED = {
    "lambda-trust": ["MALFORMED: Statement contains neither Resource nor NotResource"],
    "vpc": [
        "RESOURCE_STAR: ['ec2:AssignPrivateIpAddresses', 'ec2:CreateNetworkInterface', 'ec2:DeleteNetworkInterface',"
        " 'ec2:UnassignPrivateIpAddresses']"
    ],
}


def findings(policy: stack_files.Json) -> list[str]:
    # A process of its own, because it imports pkg_resources, which warns of its end.
    done = subprocess.run(
        [Path(sys.executable).parent / "parliament", "--json", "--include-community-auditors"],
        input=json.dumps(policy),
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == bool(found), done.stderr
    return [f"{finding['issue']}: {finding['detail']}" for finding in found]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_the_linter_finds_nothing_in_a_policy(path: Path) -> None:
    assert findings(stack_files.render(path.read_text(), VALUES)) == EXPECTED.get(path.stem, [])


def test_the_linter_finds_an_action_that_does_not_exist_and_one_on_another_services_resource() -> None:
    table = "arn:aws:dynamodb:us-east-1:123456789012:table/T"
    statements = [
        {"Effect": "Allow", "Action": action, "Resource": table} for action in ("sqs:SendMesage", "sqs:SendMessage")
    ]

    unknown, mismatch = findings({"Version": "2012-10-17", "Statement": statements})

    assert unknown == "UNKNOWN_ACTION: Unknown action sqs:SendMesage"
    assert mismatch.startswith("RESOURCE_MISMATCH: ")
