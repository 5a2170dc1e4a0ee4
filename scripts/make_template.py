"""Writes template.yaml, the stack for CloudFormation: python scripts/make_template.py > template.yaml

The policies of iam/ and the dashboard and alarms of cloudwatch/ are taken from there, as create-stack.sh takes them, so
that both ways of deploying make the same. Their ${Placeholders} become CloudFormation's.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
Json = dict[str, Any]

# What the ${Placeholders} of the documents stand for.
NAMES = {
    "Partition": "${AWS::Partition}",
    "Region": "${AWS::Region}",
    "GatewayRegions": "${AWS::Region}",
    "Account": "${AWS::AccountId}",
    "NamePrefix": "${NamePrefix}",
    "Table": "${NamePrefix}S3EventAggregator",
    "Queue": "${NamePrefix}S3EventAggregatorActionQueue",
    "DeadLetterQueue": "${NamePrefix}S3EventAggregatorActionQueueDeadLetter",
    "Aggregator": "${NamePrefix}S3EventAggregator",
    "Refresh": "${NamePrefix}S3StorageGatewayRefresh",
    "CompletionRule": "${NamePrefix}S3EventAggregatorRefreshComplete",
    "SweepRule": "${NamePrefix}S3EventAggregatorSweep",
    "ChangesRule": "${NamePrefix}S3EventAggregatorObjectChanges",
    "KmsKey": "${KmsKeyArn}",
    "GatewayRoles": "${GatewayRoleArns}",
}

# A value for all, and exceptions by bucket or file share. A template compares no numbers: with those that are out of
# their range, or contradict each other, no function starts.
BY_BUCKET = "{0}(,[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]={0})*"
BY_SHARE = "{0}(,share-[0-9A-Za-z]+={0})*"

# Parameter: the function's variable, its type, default, limits or pattern, and what it is.
SETTINGS = {
    "RefreshDelaySeconds": (
        "String",
        "30",
        BY_BUCKET.format("[0-9]{1,5}"),
        "From a window's first change to its refresh, 0 to 43200; exceptions by bucket follow, 30,my-bucket=600",
    ),
    "RefreshQuietSeconds": (
        "String",
        "0",
        BY_BUCKET.format("[0-9]{1,5}"),
        "Instead: from a window's last change to its refresh; 0: off; above RefreshMaxDelaySeconds no function starts",
    ),
    "RefreshMaxDelaySeconds": (
        "String",
        "900",
        BY_BUCKET.format("[0-9]{1,5}"),
        "Then at most this from its first change, 1 to 43200",
    ),
    "InProgressTimeoutSeconds": ("Number", 3600, (0, 86400), "How long a share's refresh is waited for; 0: not at all"),
    "MinRefreshIntervalSeconds": (
        "String",
        "60",
        BY_SHARE.format("[0-9]{1,4}"),
        "The least time between two refreshes of a share, 1 to 3600; exceptions follow, 60,share-1234ABCD=3600;"
        " AWS asks for 60, and an earlier refresh may do nothing",
    ),
    "RefreshesPerGateway": ("Number", 2, (1, 50), "How many refreshes are started at one gateway at a time"),
    "RefreshScope": (
        "String",
        "folders",
        BY_BUCKET.format("(folders|share)"),
        "What to refresh: what changed (folders), or the whole share (share)",
    ),
    "RefreshOtherGateways": (
        "String",
        "auto",
        ("auto", "on", "off"),
        "What a gateway writes refreshes no share (off), every share that shows it but the writer's own (auto), or also"
        " the only share of a bucket if it is not known to be the writer's (on)",
    ),
    "LogLevel": ("String", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"), "DEBUG also tells of each absorbed change"),
}

LISTS = ("GatewayRegions", "GatewayRoleArns", "GatewayExternalIds")

# What CloudWatch allows.
RETENTION_DAYS = [
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
]


def template() -> Json:
    """The whole template."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Refreshes the file shares of an S3 File Gateway once for any number of S3 events.",
        "Metadata": {"cfn-lint": {"config": {"ignore_checks": ["W3002"]}}},  # it is for `package`, and says so
        "Parameters": _parameters(),
        "Rules": {
            "SubnetsNeedSecurityGroups": _needs("SubnetIds", "SecurityGroupIds"),
            "SecurityGroupsNeedSubnets": _needs("SecurityGroupIds", "SubnetIds"),
        },
        "Conditions": {
            "HasPrefix": {"Fn::Not": [{"Fn::Equals": [{"Ref": "NamePrefix"}, ""]}]},
            "HasTopic": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]},
            "HasBoundary": {"Fn::Not": [{"Fn::Equals": [{"Ref": "PermissionsBoundaryArn"}, ""]}]},
            "HasKey": {"Fn::Not": [{"Fn::Equals": [{"Ref": "KmsKeyArn"}, ""]}]},
            "IsInSubnets": _is_given("SubnetIds"),
            "HasEventBridgeBuckets": _is_given("EventBridgeBuckets"),
            "HasRegions": _is_given("GatewayRegions"),
            "HasRoles": _is_given("GatewayRoleArns"),
            "HasEndpoint": {"Fn::Not": [{"Fn::Equals": [{"Ref": "StorageGatewayEndpointUrl"}, ""]}]},
            "HasSessionName": {"Fn::Not": [{"Fn::Equals": [{"Ref": "GatewaySessionName"}, "StorageGateway"]}]},
            "IsDebugged": {"Fn::Equals": [{"Ref": "LogLevel"}, "DEBUG"]},
        },
        "Resources": {**_state(), **_functions(), **_rules(), **_cloudwatch()},
        "Outputs": {
            "AggregatorArn": {
                "Description": "To which the buckets' notifications go",
                "Value": {"Fn::GetAtt": ["Aggregator", "Arn"]},
            }
        },
    }


def _parameters() -> Json:
    parameters: Json = {
        "NamePrefix": {
            "Type": "String",
            "Default": "",
            "AllowedPattern": "[A-Za-z0-9_-]{0,32}",
            "Description": "Goes before every name; each stack of an account needs another, also in other regions",
        },
        "EventBridgeBuckets": {
            "Type": "CommaDelimitedList",
            "Default": "",
            "Description": "Buckets that tell EventBridge of their changes, by a rule of this stack; optional",
        },
        "GatewayRegions": {
            "Type": "CommaDelimitedList",
            "Default": "",
            "Description": "All regions whose file shares are refreshed, if not the stack's alone; optional",
        },
        "GatewayRoleArns": {
            "Type": "CommaDelimitedList",
            "Default": "",
            "Description": "Roles through which the file shares of other accounts are refreshed, one of each; optional",
        },
        "GatewayExternalIds": {
            "Type": "CommaDelimitedList",
            "Default": "",
            "Description": "The external ids that these roles ask for, each as ACCOUNT=ID; optional",
        },
        "StorageGatewayEndpointUrl": {
            "Type": "String",
            "Default": "",
            "Description": "Where Storage Gateway is called, if gateways are in one region, of this endpoint; optional",
        },
        "GatewaySessionName": {
            "Type": "String",
            "Default": "StorageGateway",
            "Description": "Only a role's session of this name may be a gateway that writes; empty: none is",
        },
        "IgnoreKeys": {
            "Type": "String",
            "Default": "",
            "Description": "Patterns of keys whose changes refresh nothing, such as *.tmp, with commas; optional",
        },
        "LogRetentionDays": {
            "Type": "Number",
            "Default": 30,
            "AllowedValues": RETENTION_DAYS,
            "Description": "How long logs are kept",
        },
        "AlarmTopicArn": {
            "Type": "String",
            "Default": "",
            "Description": "An SNS topic that the alarms tell; optional",
        },
        "PermissionsBoundaryArn": {
            "Type": "String",
            "Default": "",
            "Description": "A policy that bounds what both roles may do; optional",
        },
        "KmsKeyArn": {
            "Type": "String",
            "Default": "",
            "AllowedPattern": "(arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+)?",
            "Description": "The key for table, queues, logs and functions' settings, see docs/house-rules.md; optional",
        },
        "SubnetIds": {
            "Type": "CommaDelimitedList",
            "Default": "",
            "Description": "Where the refresh function runs, if it must reach Storage Gateway in a VPC; optional",
        },
        "SecurityGroupIds": {
            "Type": "CommaDelimitedList",
            "Default": "",
            "Description": "Those of the refresh function in the subnets; needed with them",
        },
        "VisibleThreshold": {
            "Type": "Number",
            "Default": 180,
            "Description": "An alarm, when a change becomes visible later than this; three times the longest delay or"
            " interval, say",
        },
        "WaitThreshold": {
            "Type": "Number",
            "Default": 3600,
            "Description": "An alarm, when a share has waited longer than this; more than three times that",
        },
    }
    for name, (kind, default, limits, description) in SETTINGS.items():
        parameter: Json = {"Type": kind, "Default": default, "Description": description}
        if kind == "Number":
            parameter["MinValue"], parameter["MaxValue"] = limits
        elif isinstance(limits, str):
            parameter["AllowedPattern"] = limits
        else:
            parameter["AllowedValues"] = list(limits)
        parameters[name] = parameter
    return parameters


# Resources, in the order of create-stack.sh


def _state() -> Json:
    kept = {
        "MessageRetentionPeriod": 1209600,
        "SqsManagedSseEnabled": {"Fn::If": ["HasKey", False, True]},
        "KmsMasterKeyId": _if("HasKey", {"Ref": "KmsKeyArn"}),
    }
    redrive = {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}, "maxReceiveCount": 100}
    return {
        "Table": _resource(
            "AWS::DynamoDB::Table",
            TableName=_name("Table"),
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "BucketName", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "BucketName", "KeyType": "HASH"}],
            SSESpecification=_if(
                "HasKey", {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": {"Ref": "KmsKeyArn"}}
            ),
        ),
        "DeadLetterQueue": _resource("AWS::SQS::Queue", QueueName=_name("DeadLetterQueue"), **kept),
        "Queue": _resource(
            "AWS::SQS::Queue", QueueName=_name("Queue"), VisibilityTimeout=360, RedrivePolicy=redrive, **kept
        ),
        "QueuePolicy": _resource(
            "AWS::SQS::QueuePolicy", Queues=[{"Ref": "Queue"}], PolicyDocument=_policy(["queue-senders"], "")
        ),
    }


def _functions() -> Json:
    aggregator = ["dynamo-writer", "sqs-writer", "log-writer"]
    refresh = [
        *("dynamo-writer", "dynamo-read-delete", "sqs-writer", "sqs-reader"),
        *("sgw-refresh", "access-points", "share-roles", "log-writer"),
    ]
    optional = {"HasRoles": "assume-gateway-roles", "HasKey": "kms", "IsInSubnets": "vpc"}
    network = {"SubnetIds": {"Ref": "SubnetIds"}, "SecurityGroupIds": {"Ref": "SecurityGroupIds"}}
    return {
        "AggregatorRole": _role("S3EventAggregatorLambdaRole", "Aggregator", aggregator, {"HasKey": "kms"}),
        "RefreshRole": _role("S3AggregatorActionLambdaRole", "Refresh", refresh, optional),
        "AggregatorLogs": _log_group("Aggregator"),
        "RefreshLogs": _log_group("Refresh"),
        "Aggregator": _function("Aggregator", "s3_aggregator", 30),
        "Refresh": _function(
            "Refresh", "s3_sgw_refresh", 60, RecursiveLoop="Allow", VpcConfig=_if("IsInSubnets", network)
        ),
        "FailedEvents": _resource(
            "AWS::Lambda::EventInvokeConfig",
            FunctionName={"Ref": "Aggregator"},
            Qualifier="$LATEST",
            MaximumRetryAttempts=2,
            MaximumEventAgeInSeconds=21600,
            DestinationConfig={"OnFailure": {"Destination": {"Fn::GetAtt": ["Queue", "Arn"]}}},
        ),
        "Trigger": _resource(
            "AWS::Lambda::EventSourceMapping",
            FunctionName={"Ref": "Refresh"},
            EventSourceArn={"Fn::GetAtt": ["Queue", "Arn"]},
            BatchSize=1,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            ScalingConfig={"MaximumConcurrency": 10},
        ),
    }


def _role(name: str, function: str, policies: Iterable[str], optional: Mapping[str, str]) -> Json:
    """`optional`: a policy of iam/ by the condition on which it is needed."""
    document = _policy(policies, function)
    document["Statement"] = [_in_regions(statement) for statement in document["Statement"]]
    for condition, file in optional.items():
        [statement] = _policy([file], function)["Statement"]
        document["Statement"].append(_if(condition, statement))
    trust = json.loads((ROOT / "iam" / "lambda-trust.json").read_text())
    return _resource(
        "AWS::IAM::Role",
        RoleName=_sub("${NamePrefix}" + name),
        AssumeRolePolicyDocument=trust,
        PermissionsBoundary=_if("HasBoundary", {"Ref": "PermissionsBoundaryArn"}),
        Policies=[{"PolicyName": _sub("S3EventAggregator-${AWS::Region}"), "PolicyDocument": document}],
    )


def _in_regions(statement: Json) -> Json:
    """The same, about gateways in all regions that are given: a template cannot make an ARN of each, as scripts can."""
    if statement["Sid"] != "RefreshFileShares":
        return statement
    anywhere = {"Fn::Sub": statement["Resource"]["Fn::Sub"].replace("${AWS::Region}", "*")}
    only = {"StringEquals": {"aws:RequestedRegion": {"Ref": "GatewayRegions"}}}
    return {"Fn::If": ["HasRegions", {**statement, "Resource": anywhere, "Condition": only}, statement]}


def _log_group(function: str) -> Json:
    return _resource(
        "AWS::Logs::LogGroup",
        LogGroupName=_sub(f"/aws/lambda/{NAMES[function]}"),
        RetentionInDays={"Ref": "LogRetentionDays"},
        KmsKeyId=_if("HasKey", {"Ref": "KmsKeyArn"}),
    )


def _function(name: str, module: str, timeout: int, **more: Any) -> Json:
    variables = {
        "TABLE_NAME": {"Ref": "Table"},
        "QUEUE_URL": {"Ref": "Queue"},
        "POWERTOOLS_SERVICE_NAME": _name(name),
        "POWERTOOLS_METRICS_NAMESPACE": "S3EventAggregator",
        **{_variable(parameter): {"Ref": parameter} for parameter in SETTINGS},
        **{_variable(name): {"Fn::Join": [",", {"Ref": name}]} for name in LISTS},
        "IGNORE_KEYS": {"Ref": "IgnoreKeys"},
        "GATEWAY_SESSION_NAME": _if("HasSessionName", {"Ref": "GatewaySessionName"}),
    }
    if name == "Refresh":
        variables["AWS_ENDPOINT_URL_STORAGE_GATEWAY"] = _if("HasEndpoint", {"Ref": "StorageGatewayEndpointUrl"})
    logging = {
        "LogFormat": "JSON",
        "SystemLogLevel": "WARN",
        "ApplicationLogLevel": {"Fn::If": ["IsDebugged", "DEBUG", "INFO"]},
        "LogGroup": {"Ref": f"{name}Logs"},
    }
    return _resource(
        "AWS::Lambda::Function",
        FunctionName=_name(name),
        Role={"Fn::GetAtt": [f"{name}Role", "Arn"]},
        Handler=f"{module}.lambda_handler",
        Runtime="python3.13",
        Architectures=["arm64"],
        MemorySize=256,
        Timeout=timeout,
        Code="build/s3-event-aggregator.zip",
        Environment={"Variables": variables},
        KmsKeyArn=_if("HasKey", {"Ref": "KmsKeyArn"}),
        LoggingConfig=logging,
        **more,
    )


def _variable(parameter: str) -> str:
    """RefreshDelaySeconds: REFRESH_DELAY_SECONDS."""
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in parameter).lstrip("_")


def _rules() -> Json:
    target = {"Id": "action-queue", "Arn": {"Fn::GetAtt": ["Queue", "Arn"]}}
    return {
        "CompletionRule": _resource(
            "AWS::Events::Rule",
            Name=_name("CompletionRule"),
            State="ENABLED",
            EventPattern={
                "source": ["aws.storagegateway"],
                "detail-type": ["Storage Gateway Refresh Cache Event"],
                "detail": {"event-type": ["refresh-complete"]},
            },
            Targets=[target],
        ),
        "SweepRule": _resource(
            "AWS::Events::Rule",
            Name=_name("SweepRule"),
            State="ENABLED",
            ScheduleExpression="rate(15 minutes)",
            Targets=[{**target, "Input": '{"sweep": true}'}],
        ),
        **_changes_rule(),
    }


def _changes_rule() -> Json:
    """The rule for buckets that tell EventBridge, as buckets.sh makes it; that they do is turned on there."""
    rule = _resource(
        "AWS::Events::Rule",
        Name=_name("ChangesRule"),
        State="ENABLED",
        EventPattern={
            "source": ["aws.s3"],
            "detail-type": ["Object Created", "Object Deleted"],
            "detail": {"bucket": {"name": {"Ref": "EventBridgeBuckets"}}},
        },
        Targets=[{"Id": "aggregator", "Arn": {"Fn::GetAtt": ["Aggregator", "Arn"]}}],
    )
    permission = _resource(
        "AWS::Lambda::Permission",
        Action="lambda:InvokeFunction",
        FunctionName={"Ref": "Aggregator"},
        Principal="events.amazonaws.com",
        SourceArn={"Fn::GetAtt": ["ChangesRule", "Arn"]},
    )
    given = {"Condition": "HasEventBridgeBuckets"}
    return {"ChangesRule": {**given, **rule}, "ChangesPermission": {**given, **permission}}


def _cloudwatch() -> Json:
    dashboard = Template((ROOT / "cloudwatch" / "dashboard.json").read_text()).substitute(NAMES)
    resources: Json = {
        "Dashboard": _resource(
            "AWS::CloudWatch::Dashboard",
            DashboardName=_sub("${NamePrefix}S3EventAggregator-${AWS::Region}"),
            DashboardBody=_sub(dashboard),
        )
    }
    # A threshold is a number there, in whose place a placeholder stands without quotes.
    text = re.sub(r'"Threshold": (\$\{\w+\})', r'"Threshold": "\1"', (ROOT / "cloudwatch" / "alarms.json").read_text())
    told = {"Fn::If": ["HasTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    for alarm in json.loads(Template(text).safe_substitute(NAMES)):
        name = alarm["AlarmName"].rpartition("S3EventAggregator")[2]
        properties = {key: _substituted(value) for key, value in alarm.items()}
        resources[f"{name}Alarm"] = _resource("AWS::CloudWatch::Alarm", **properties, AlarmActions=told, OKActions=told)
    return resources


# CloudFormation's forms


def _resource(kind: str, **properties: Any) -> Json:
    return {"Type": kind, "Properties": properties}


def _if(condition: str, value: Any) -> Json:
    return {"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]}


def _is_given(parameter: str) -> Json:
    """Whether a list is given: the default is one with an empty text."""
    return {"Fn::Not": [{"Fn::Equals": [{"Fn::Select": [0, {"Ref": parameter}]}, ""]}]}


def _needs(parameter: str, other: str) -> Json:
    """A rule that refuses the one list without the other."""
    is_given, other_is_given = (
        {"Fn::Not": [{"Fn::EachMemberEquals": [{"Ref": name}, ""]}]} for name in (parameter, other)
    )
    refusal = f"{parameter} needs {other}: give both, or neither."
    return {"RuleCondition": is_given, "Assertions": [{"Assert": other_is_given, "AssertDescription": refusal}]}


def _name(placeholder: str) -> Json:
    return _sub(NAMES[placeholder])


def _sub(text: str) -> Json:
    """The text with CloudFormation's values in its ${Placeholders}; ${Flags} tell the scripts which stack is meant."""
    if alone := re.fullmatch(r"\$\{(\w+)\}", text):
        return {"Ref": alone[1]}
    if "${Flags}" not in text:
        return {"Fn::Sub": text}
    region, prefix = "--region ${AWS::Region}", "--name-prefix ${NamePrefix}"
    flags = {"Fn::If": ["HasPrefix", {"Fn::Sub": f"{region} {prefix}"}, {"Fn::Sub": region}]}
    return {"Fn::Sub": [text, {"Flags": flags}]}


def _substituted(value: Any) -> Any:
    """The same with every text that names something of CloudFormation's in a Fn::Sub."""
    if isinstance(value, dict):
        return {key: _substituted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_substituted(inner) for inner in value]
    return _sub(value) if isinstance(value, str) and "${" in value else value


def _policy(files: Iterable[str], function: str) -> Json:
    """The policy that allows what the files of iam/ allow, together."""
    values = {**NAMES, "Function": NAMES.get(function, "")}
    texts = [Template((ROOT / "iam" / f"{file}.json").read_text()).substitute(values) for file in files]
    statements = [_substituted(statement) for text in texts for statement in json.loads(text)["Statement"]]
    return {"Version": "2012-10-17", "Statement": statements}


class _Dumper(yaml.SafeDumper):
    """Writes what is there twice two times: CloudFormation knows no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's signature
        return True


if __name__ == "__main__":
    sys.stdout.write("# Made by scripts/make_template.py, of iam/ and cloudwatch/.\n")
    yaml.dump(template(), sys.stdout, _Dumper, sort_keys=False, width=120, allow_unicode=True)
