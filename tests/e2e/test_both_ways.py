"""template.yaml makes the stack that create-stack.sh makes: both are deployed, and AWS is asked what there is.

With house rules, test_stack.py does the same, which has such a stack of the script.
"""

import json
from typing import Any

import pytest
import yaml

from local.ministack import ROOT, MiniStack
from tests.e2e.conftest import FUNCTIONS, run_aws, run_script

PREFIX = "cfn-"
STACK = "from-the-template"
ROLES = ("S3EventAggregatorLambdaRole", "S3AggregatorActionLambdaRole")
BUCKET = "tells-eventbridge"
BY_EVENTBRIDGE = ("attach-bucket.sh", "--bucket", BUCKET, "--event-source", "eventbridge")


@pytest.mark.usefixtures("stack")
def test_the_template_makes_what_the_script_makes_and_leaves_nothing_when_it_is_deleted(aws: MiniStack) -> None:
    aws.client("s3").create_bucket(Bucket=BUCKET)
    run_script(aws, *BY_EVENTBRIDGE)
    before = names(aws)
    settings = ("RefreshDelaySeconds=2", "MinRefreshIntervalSeconds=1", "VisibleThreshold=6")
    deploy(aws, *settings, f"EventBridgeBuckets={BUCKET}")
    assert compared(aws, PREFIX) == compared(aws, "")
    attached = run_script(aws, *BY_EVENTBRIDGE, "--name-prefix", PREFIX)
    assert [line.split()[0] for line in attached.splitlines()[1:] if line] == ["keep", "keep", "ask", "Attached."]

    delete(aws)
    assert names(aws) == before
    run_script(aws, "detach-bucket.sh", "--bucket", BUCKET)


def test_the_template_is_refused_with_subnets_alone(aws: MiniStack) -> None:
    with pytest.raises(AssertionError, match="SubnetIds needs SecurityGroupIds: give both, or neither"):
        deploy(aws, "SubnetIds=subnet-1a")
    stacks = aws.client("cloudformation").list_stacks()["StackSummaries"]
    assert {stack["StackStatus"] for stack in stacks} <= {"DELETE_COMPLETE"}


def deploy(aws: MiniStack, *parameters: str, tags: tuple[str, ...] = ()) -> None:
    """Deploys the template with these parameters."""
    aws.client("s3").create_bucket(Bucket="artifacts")
    packaged = aws.home / "packaged.yaml"
    run_script(aws, "zip.sh")
    template = ("--template-file", str(ROOT / "template.yaml"))
    run_aws(
        aws, "cloudformation", "package", *template, "--s3-bucket", "artifacts", "--output-template-file", str(packaged)
    )
    # Not known to the local AWS: alarms on a query. The unit tests compare what they say.
    content = yaml.safe_load(packaged.read_text())
    content["Resources"] = {
        name: resource for name, resource in content["Resources"].items() if "Metrics" not in resource["Properties"]
    }
    packaged.write_text(yaml.safe_dump(content))
    run_aws(
        aws,
        *("cloudformation", "deploy", "--template-file", str(packaged), "--stack-name", STACK),
        *("--s3-bucket", "artifacts"),  # it is nearly as large as a template may be without
        *("--capabilities", "CAPABILITY_NAMED_IAM", "--parameter-overrides", f"NamePrefix={PREFIX}", *parameters),
        *(("--tags", *tags) if tags else ()),
    )


def delete(aws: MiniStack) -> None:
    aws.client("cloudformation").delete_stack(StackName=STACK)
    aws.client("cloudformation").get_waiter("stack_delete_complete").wait(StackName=STACK)


def compared(aws: MiniStack, prefix: str) -> Any:
    """All that the stack is, but for its prefix."""
    found = json.dumps([described(aws, prefix), of_eventbridge(aws, prefix), ruled(aws, prefix)])
    return json.loads(found.replace(f" --name-prefix {prefix}", "").replace(prefix, "") if prefix else found)


def names(aws: MiniStack) -> dict[str, list[str]]:
    return {
        "functions": [function["FunctionName"] for function in aws.client("lambda").list_functions()["Functions"]],
        "tables": aws.client("dynamodb").list_tables()["TableNames"],
        "queues": aws.client("sqs").list_queues()["QueueUrls"],
        "roles": [role["RoleName"] for role in aws.client("iam").list_roles()["Roles"]],
        "rules": [rule["Name"] for rule in aws.client("events").list_rules()["Rules"]],
        "alarms": [alarm["AlarmName"] for alarm in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]],
        "dashboards": [d["DashboardName"] for d in aws.client("cloudwatch").list_dashboards()["DashboardEntries"]],
        "logs": [group["logGroupName"] for group in aws.client("logs").describe_log_groups()["logGroups"]],
    }


def described(aws: MiniStack, prefix: str) -> dict[str, Any]:
    """What AWS says of the stack, without times and ids."""
    return {
        "table": table(aws, f"{prefix}S3EventAggregator"),
        "queues": [queue(aws, f"{prefix}S3EventAggregatorActionQueue{suffix}") for suffix in ("", "DeadLetter")],
        "roles": [role(aws, f"{prefix}{name}") for name in ROLES],
        "functions": [function(aws, f"{prefix}{name}") for name in ("S3EventAggregator", "S3StorageGatewayRefresh")],
        # The same on AWS, where $LATEST is what is meant without a qualifier.
        "failed events": failed_events(
            aws, f"{prefix}S3EventAggregator", {"Qualifier": "$LATEST"} if prefix == PREFIX else {}
        ),
        "trigger": trigger(aws, f"{prefix}S3StorageGatewayRefresh"),
        "rules": [rule(aws, f"{prefix}S3EventAggregator{name}") for name in ("RefreshComplete", "Sweep")],
        "alarms": alarms(aws, f"{prefix}S3EventAggregator"),
        "dashboard": dashboard(aws, f"{prefix}S3EventAggregator-us-east-1"),
    }


def of_eventbridge(aws: MiniStack, prefix: str) -> Any:
    """What there is for buckets that tell EventBridge, if any do."""
    if not aws.client("events").list_rules(NamePrefix=f"{prefix}S3EventAggregatorObjectChanges")["Rules"]:
        return None
    return rule(aws, f"{prefix}S3EventAggregatorObjectChanges"), permission(aws, f"{prefix}S3EventAggregator")


def ruled(aws: MiniStack, prefix: str) -> Any:
    """Keys and tags. Not known to the local AWS's CloudFormation, but to the unit tests: boundaries, the table's key,
    and the keys and subnets of functions. Nor does it put tags on rules and triggers.
    """
    sqs, functions, logs, cloudwatch = (aws.client(name) for name in ("sqs", "lambda", "logs", "cloudwatch"))
    dynamodb = aws.client("dynamodb")
    table_arn = dynamodb.describe_table(TableName=f"{prefix}S3EventAggregator")["Table"]["TableArn"]
    queues = [
        sqs.get_queue_url(QueueName=f"{prefix}S3EventAggregatorActionQueue{end}")["QueueUrl"]
        for end in ("", "DeadLetter")
    ]
    of_queues = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in queues]
    groups = [
        group
        for name in FUNCTIONS
        for group in logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{prefix}{name}")["logGroups"]
    ]
    arns = [functions.get_function_configuration(FunctionName=f"{prefix}{name}")["FunctionArn"] for name in FUNCTIONS]
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix=f"{prefix}S3EventAggregator")["MetricAlarms"]
    tags = [
        dynamodb.list_tags_of_resource(ResourceArn=table_arn)["Tags"],
        *[sqs.list_queue_tags(QueueUrl=url).get("Tags", {}) for url in queues],
        *[aws.client("iam").list_role_tags(RoleName=f"{prefix}{name}")["Tags"] for name in ROLES],
        *[functions.list_tags(Resource=arn)["Tags"] for arn in arns],
        *[logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*"))["tags"] for group in groups],
        *[
            cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
            for alarm in alarms
            if "MetricName" in alarm
        ],
    ]
    keys = [*[of.get("KmsMasterKeyId") for of in of_queues], *[group.get("kmsKeyId") for group in groups]]
    return keys, list(map(own, tags))


def own(tags: Any) -> dict[str, str]:
    """The tags but for those that CloudFormation puts on what it makes."""
    having = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
    return {key: value for key, value in having.items() if not key.startswith("aws:")}


def table(aws: MiniStack, name: str) -> Any:
    found = aws.client("dynamodb").describe_table(TableName=name)["Table"]
    return found["KeySchema"], found["AttributeDefinitions"], found["BillingModeSummary"]["BillingMode"]


def queue(aws: MiniStack, name: str) -> Any:
    url = aws.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    found = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    wanted = ("MessageRetentionPeriod", "SqsManagedSseEnabled", "DelaySeconds")  # the fixture shortens the visibility
    documents = {name: json.loads(found[name]) for name in ("RedrivePolicy", "Policy") if found.get(name)}
    return {name: found[name] for name in wanted}, documents


def role(aws: MiniStack, name: str) -> Any:
    iam = aws.client("iam")
    policies = iam.list_role_policies(RoleName=name)["PolicyNames"]
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    documents = [iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in policies]
    return trust, policies, [list(map(in_each_region, document["Statement"])) for document in documents]


def in_each_region(statement: dict[str, Any]) -> dict[str, Any]:
    """The statement as the script makes it, an ARN a region, where a template can only limit the regions of all."""
    match statement:
        case {"Resource": str(anywhere), "Condition": {"StringEquals": {"aws:RequestedRegion": regions}}}:
            resources = [anywhere.replace(":*:", f":{region}:") for region in regions]
            return {name: value for name, value in statement.items() if name != "Condition"} | {"Resource": resources}
    return statement


def function(aws: MiniStack, name: str) -> Any:
    # Without RecursiveLoop: the local AWS does not take that from a template.
    found = aws.client("lambda").get_function_configuration(FunctionName=name)
    wanted = ("Handler", "Runtime", "Architectures", "MemorySize", "Timeout", "LoggingConfig", "CodeSha256", "Role")
    variables = found["Environment"]["Variables"]
    [group] = aws.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    ours = {name: value for name, value in variables.items() if not name.startswith("AWS_ENDPOINT_URL")}
    ours["QUEUE_URL"] = ours["QUEUE_URL"].replace("//localhost:", "//127.0.0.1:")  # its CloudFormation's name for it
    return {name: found[name] for name in wanted}, ours, group["retentionInDays"]


def permission(aws: MiniStack, name: str) -> Any:
    """EventBridge's to invoke the function."""
    policy = json.loads(aws.client("lambda").get_policy(FunctionName=name)["Policy"])
    [found] = [
        statement for statement in policy["Statement"] if statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    return {name: value for name, value in found.items() if name != "Sid"}


def failed_events(aws: MiniStack, name: str, qualifier: dict[str, str]) -> Any:
    found = aws.client("lambda").get_function_event_invoke_config(FunctionName=name, **qualifier)
    return {name: found[name] for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")}


def trigger(aws: MiniStack, name: str) -> Any:
    [found] = aws.client("lambda").list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    return {name: found[name] for name in ("EventSourceArn", "BatchSize", "FunctionResponseTypes", "ScalingConfig")}


def rule(aws: MiniStack, name: str) -> Any:
    found = aws.client("events").describe_rule(Name=name)
    targets = aws.client("events").list_targets_by_rule(Rule=name)["Targets"]
    pattern = json.loads(found.get("EventPattern") or "{}")
    return found["State"], pattern, found.get("ScheduleExpression"), targets


def alarms(aws: MiniStack, prefix: str) -> Any:
    found = aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
    wanted = (
        *("AlarmName", "AlarmDescription", "Namespace", "MetricName", "Dimensions", "Statistic", "Period"),
        *("EvaluationPeriods", "DatapointsToAlarm", "ComparisonOperator", "Threshold", "TreatMissingData"),
    )
    of_each = [{name: alarm.get(name) for name in wanted} for alarm in found]
    return sorted((alarm for alarm in of_each if alarm["MetricName"]), key=lambda alarm: str(alarm["AlarmName"]))


def dashboard(aws: MiniStack, name: str) -> Any:
    return json.loads(aws.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])
