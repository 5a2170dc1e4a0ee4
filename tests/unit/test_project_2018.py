"""From the project of 2018 to a stack beside it, and the removal of the old one; on moto."""

import json
from dataclasses import replace
from typing import Any

import pytest

from commands.deploy import project_2018
from commands.deploy.buckets import Wish
from commands.deploy.create import Deployment, Order
from commands.deploy.template import DeployError, Json
from tests.unit.test_buckets import ACCOUNT, BUCKET, BY_RULE, NO_CODE, Account, account, others

__all__ = ["account"]
OLD = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:S3EventAggregator"


@pytest.fixture
def old(account: Account) -> Account:
    """An account with what the scripts of 2018 made, beside a new stack with a prefix."""
    client = account.stack.client
    iam: Any = client("iam")
    statement = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    for role in project_2018._ROLES:
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=policy)
    for name in project_2018._POLICIES:
        iam.create_policy(PolicyName=name, PolicyDocument=policy)
        iam.attach_role_policy(RoleName=project_2018._ROLES[0], PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/{name}")
    role = f"arn:aws:iam::{ACCOUNT}:role/{project_2018._ROLES[0]}"
    for name in (project_2018.AGGREGATOR, project_2018.REFRESH):
        client("lambda").create_function(FunctionName=name, Role=role, **NO_CODE)
    client("sqs").create_queue(QueueName="S3EventAggregatorActionQueue")
    client("lambda").create_event_source_mapping(
        FunctionName=project_2018.REFRESH,
        EventSourceArn=f"arn:aws:sqs:us-east-1:{ACCOUNT}:S3EventAggregatorActionQueue",
    )
    client("dynamodb").create_table(
        TableName="S3EventAggregator",
        AttributeDefinitions=[{"AttributeName": "BucketName", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "BucketName", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    permission = account.buckets()._permission_of(BUCKET) | {"FunctionName": project_2018.AGGREGATOR}
    client("lambda").add_permission(**permission)
    rule = {"Name": "prefix", "Value": "photos/"}
    entry: Json = {"Id": "s3-event-aggregator", "LambdaFunctionArn": OLD, "Filter": {"Key": {"FilterRules": [rule]}}}
    account.put({**others(), "LambdaFunctionConfigurations": [{**entry, "Events": ["s3:ObjectCreated:*"]}]})
    account.replaces = Deployment(account.stack, print).buckets.replaces
    return account


def delete(account: Account, *, is_dry: bool = False) -> list[str]:
    """What is said."""
    account.said.clear()
    stack = replace(account.stack, prefix="")
    project_2018.delete(stack, account.said.append, is_dry=is_dry)
    return account.said


def test_the_entry_of_2018_is_exchanged_for_ours_in_one_put_and_keeps_its_prefix(old: Account) -> None:
    puts: list[Json] = []
    old.on_put(puts.append)
    assert old.replaces == OLD

    assert old.attach() == ["ask", "create", "set"]

    [ours] = old.notification()["LambdaFunctionConfigurations"]
    assert ours["LambdaFunctionArn"] == f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:p-S3EventAggregator"
    assert ours["Filter"]["Key"]["FilterRules"][0]["Value"] == "photos/"
    assert old.notification()["QueueConfigurations"] == others()["QueueConfigurations"]
    assert len(puts) == 1
    assert old.attach() == ["keep"]


def test_eventbridge_takes_the_place_of_2018_as_well(old: Account) -> None:
    old.attach(BY_RULE)

    assert old.watched() == {BUCKET: ["photos/"]}
    assert "LambdaFunctionConfigurations" not in old.notification()


def test_what_is_of_2018_is_removed_when_no_bucket_needs_it_and_nothing_else(old: Account) -> None:
    with pytest.raises(DeployError, match=f"These buckets still notify S3EventAggregator of 2018: {BUCKET}"):
        delete(old)
    assert old.said == []
    old.attach(Wish(initial_refresh=False))

    warning, *would = delete(old, is_dry=True)
    assert "serve all regions" in warning
    assert {line.split()[0] for line in would} == {"would"}
    assert old.stack.client("lambda").get_function(FunctionName=project_2018.REFRESH)
    assert "delete  function S3StorageGatewayRefresh" in delete(old)

    functions = old.stack.client("lambda").list_functions()["Functions"]
    assert [function["FunctionName"] for function in functions] == ["p-S3EventAggregator"]
    assert old.stack.client("dynamodb").list_tables()["TableNames"] == []
    assert len(old.stack.client("sqs").list_queues()["QueueUrls"]) == 1
    assert [role["RoleName"] for role in old.stack.client("iam").list_roles()["Roles"]] == ["r"]
    assert old.stack.client("iam").list_policies(Scope="Local")["Policies"] == []
    assert delete(old)[1:] == ["\nNothing else of 2018 is there."]


def test_a_role_that_was_last_used_in_another_region_is_kept_with_its_policies(old: Account) -> None:
    def used(parsed: Json, **_: Any) -> None:
        parsed.get("Role", {})["RoleLastUsed"] = last_used

    iam: Any = old.stack.client("iam")
    iam.meta.events.register("after-call.iam.GetRole", used)
    old.attach(Wish(initial_refresh=False))

    last_used = {"Region": "eu-west-1"}
    for is_dry in (True, False):
        kept = [line for line in delete(old, is_dry=is_dry)[1:] if "policy" in line or line.startswith("keep")]
        assert len(kept) == 2
        assert all("policies, last used in eu-west-1: --region eu-west-1 deletes them" in line for line in kept)
    assert old.stack.client("dynamodb").list_tables()["TableNames"] == []
    assert len(iam.list_policies(Scope="Local")["Policies"]) == len(project_2018._POLICIES)

    last_used = {"Region": "us-east-1"}
    delete(old)
    assert iam.list_policies(Scope="Local")["Policies"] == []
    assert [role["RoleName"] for role in iam.list_roles()["Roles"]] == ["r"]


def test_a_stack_of_cloudformations_is_not_of_2018_nor_is_one_that_may_be(old: Account) -> None:
    functions = old.stack.client("lambda")
    functions.tag_resource(Resource=OLD, Tags={"aws:cloudformation:stack-name": "mine"})
    assert Deployment(old.stack, print).buckets.replaces == ""
    with pytest.raises(DeployError, match="The function S3EventAggregator is of the stack mine"):
        delete(old)

    def without_tags(parsed: Json, **_: Any) -> None:
        parsed.pop("Tags", None)
        parsed["TagsError"] = {"ErrorCode": "AccessDeniedException", "Message": "you may not list tags"}

    functions.meta.events.register("after-call.lambda.GetFunction", without_tags)
    with pytest.raises(DeployError, match=r"(?s)owns the function.*you may not list tags.*need lambda:ListTags"):
        _ = Deployment(old.stack, print).buckets
    with pytest.raises(DeployError, match="need lambda:ListTags"):
        delete(old)


def test_an_aggregator_with_rules_of_eventbridge_is_not_of_2018(old: Account) -> None:
    old.attach(Wish(initial_refresh=False))
    old.stack.client("events").put_rule(Name="S3EventAggregatorObjectChanges2", EventPattern='{"source": ["aws.s3"]}')

    with pytest.raises(DeployError, match="not of 2018, for that had no rules of EventBridge: S3EventAggregatorObj"):
        delete(old)


def test_without_a_prefix_the_new_stack_would_have_the_same_names(old: Account) -> None:
    old.stack.prefix = ""

    deployment = Deployment(old.stack, old.said.append)
    with pytest.raises(DeployError, match=r"no stack of CloudFormation owns.*Give --name-prefix"):
        deployment.create(Order({}, {}, [BUCKET], Wish()))
    with pytest.raises(DeployError, match=r"no stack of CloudFormation owns.*Give --name-prefix"):
        deployment.delete([])
    assert old.said == []
