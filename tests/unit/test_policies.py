"""Parliament, the linter of IAM policies, over every policy of iam/ as it is deployed.

https://github.com/duo-labs/parliament
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from string import Template

import pytest

from commands.deploy.template import Json
from tests.unit.deployed import ACCOUNT, resources, statements

ROOT = Path(__file__).parents[2]
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ALL = {
    "GatewayRegions": ["us-east-1", "eu-west-1"],
    "GatewayRoleArns": ["arn:aws:iam::210987654321:role/gateways", "arn:aws:iam::999999999999:role/gateways"],
    "KmsKey": KEY,
    "EarlierKmsKey": KEY.replace("1234abcd", "5678abcd"),
    "ReattachBucketArns": ["arn:aws:s3:::a-bucket"],
    "SubnetIds": ["subnet-1a"],
    "SecurityGroupIds": ["sg-3c"],
}
# AWS lets a subnet be another account's, so that the policy it names for this is on all resources.
EXPECTED = {
    # Of a narrower scope AWS says only that it hides composite alarms (API reference, DescribeAlarms).
    "operator": ["RESOURCE_STAR: ['cloudwatch:DescribeAlarms']"],
    "RefreshRole": ["CREDENTIALS_EXPOSURE: "],  # that AssumeRole gives credentials is what it is for
    "VpcPolicy": [
        "RESOURCE_STAR: ['ec2:AssignPrivateIpAddresses', 'ec2:CreateNetworkInterface', 'ec2:DeleteNetworkInterface',"
        " 'ec2:UnassignPrivateIpAddresses']"
    ],
}


def findings(folder: Path, policies: dict[str, Json]) -> dict[str, list[str]]:
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


def operators() -> Json:
    """iam/operator.json as docs/security-and-network.md has it filled in."""
    text = Template((ROOT / "iam/operator.json").read_text())
    policy: Json = json.loads(text.substitute(Partition="aws", Region="us-east-1", Account=ACCOUNT, NamePrefix=""))
    return policy


def test_the_linter_finds_nothing_else_in_the_policies(tmp_path: Path) -> None:
    roles = resources("AWS::IAM::Role", **ALL)
    policies = {name: role["Policies"][0]["PolicyDocument"] for name, role in roles.items()}
    policies |= {name: policy["PolicyDocument"] for name, policy in resources("AWS::IAM::Policy", **ALL).items()}
    policies |= {name: policy["PolicyDocument"] for name, policy in resources("AWS::SQS::QueuePolicy").items()}
    assert findings(tmp_path, policies | {"operator": operators()}) == EXPECTED


@pytest.mark.parametrize("role", ["AggregatorRole", "RefreshRole"])
def test_only_actions_that_know_no_resource_are_allowed_on_every_one(role: str) -> None:
    everything = [statement["Action"] for statement in statements(role, **ALL).values() if statement["Resource"] == "*"]
    of_refresh = ["storagegateway:ListFileShares", ["s3:GetAccessPoint", "s3:ListAccessPoints"], "events:ListRules"]
    assert everything == (of_refresh if role == "RefreshRole" else [])


def documented() -> list[Json]:
    """The trust policy and the policy that docs/other-accounts.md has people paste."""
    text = (ROOT / "docs/other-accounts.md").read_text()
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def test_the_role_of_another_account_is_trusted_by_it_to_nobody_but_the_refresh_function() -> None:
    [statement] = documented()[0]["Statement"]
    assert statement["Action"] == "sts:AssumeRole"
    assert statement["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
    role = "arn:aws:iam::111111111111:role/S3GatewayRefresh-us-east-1"
    assert statement["Condition"] == {"ArnEquals": {"aws:PrincipalArn": role}}


def test_the_role_of_another_account_may_do_there_what_the_refresh_function_may_here(tmp_path: Path) -> None:
    here = statements("RefreshRole", **{"AWS::AccountId": "222222222222"})
    there = documented()[1]["Statement"]
    assert there == [here[statement["Sid"]] for statement in there]
    needed = {
        "RefreshFileShares",
        "ListFileShares",
        "FindTheBucketsOfAccessPoints",
        "TellWhichShareAGatewayWroteThrough",
    }
    assert {statement["Sid"] for statement in there} == needed
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
