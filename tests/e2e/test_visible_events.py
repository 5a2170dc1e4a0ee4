"""The moment it is visible, on the local AWS: the event on EventBridge's default bus, and scripts/wait.sh's command."""

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from botocore.validate import validate_parameters

from commands.operate.stack import now_ms
from dev.local.gateway import StorageGateway
from dev.local.ministack import ACCOUNT, REGION, ROOT, MiniStack
from tests.e2e.conftest import FUNCTIONS, Bucket, Done, eventually, operator, run

PAGE = (ROOT / "docs/events.md").read_text()
_, PATTERN, MACHINE = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
[STARTS_A_MACHINE] = re.findall(r"--targets '(.*?)'\n", PAGE, re.DOTALL)
RULE, TOLD = "a-rule-of-the-page", "told-of-what-is-visible"
# A refresh is surely after a change only if it is some seconds later.
DELAY_SECONDS = 6


@pytest.fixture(scope="module", autouse=True)
def delay(aws: MiniStack, stack: Any) -> Iterator[None]:  # noqa: ARG001 - it must be there
    functions = aws.client("lambda")
    before = functions.get_function_configuration(FunctionName=FUNCTIONS[0])["Environment"]["Variables"]
    longer = before | {"REFRESH_DELAY_SECONDS": str(DELAY_SECONDS)}
    functions.update_function_configuration(FunctionName=FUNCTIONS[0], Environment={"Variables": longer})
    yield
    functions.update_function_configuration(FunctionName=FUNCTIONS[0], Environment={"Variables": before})


def wait(aws: MiniStack, gateway: StorageGateway, *flags: str) -> Done:
    """As the operator, who may do what iam/operator.json allows."""
    environment = aws.environment() | operator(aws) | {"AWS_ENDPOINT_URL_STORAGE_GATEWAY": gateway.endpoint_url}
    return run("wait.sh", *flags, environment=environment)


@pytest.fixture(scope="module")
def role(aws: MiniStack) -> str:
    """Of the state machines, and of the function `upload`."""
    services = {"Service": ["lambda.amazonaws.com", "states.amazonaws.com"]}
    trust = {"Effect": "Allow", "Principal": services, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": ["s3:PutObject", "lambda:InvokeFunction"], "Resource": "*"}
    iam, name = aws.client("iam"), "of-the-page"
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps({"Statement": [may]}))
    return str(made["Role"]["Arn"])


@pytest.fixture
def told(aws: MiniStack, bucket: Bucket, role: str) -> Iterator[str]:
    """A queue that gets the events of the page's rule, with this bucket in it; its URL. The rule also starts the page's
    state machine, which does nothing here."""
    pattern = json.loads(PATTERN)
    pattern["detail"] |= {"bucket": [bucket.name]}
    del pattern["detail"]["share"]
    sqs, events = aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName=TOLD)["QueueUrl"]
    started = json.loads(STARTS_A_MACHINE.replace("123456789012", ACCOUNT))
    nothing = {"StartAt": "Nothing", "States": {"Nothing": {"Type": "Succeed"}}}
    machine = make_machine(aws, started[0]["Arn"].rpartition(":")[2], nothing, role)
    events.put_rule(Name=RULE, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=RULE, Targets=[{"Id": "1", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{TOLD}"}, *started])
    yield url
    events.remove_targets(Rule=RULE, Ids=["1", started[0]["Id"]])
    events.delete_rule(Name=RULE)
    aws.client("stepfunctions").delete_state_machine(stateMachineArn=machine)
    sqs.delete_queue(QueueUrl=url)


def make_machine(aws: MiniStack, name: str, definition: dict[str, Any], role: str) -> str:
    states, text = aws.client("stepfunctions"), json.dumps(definition)
    return str(states.create_state_machine(name=name, definition=text, roleArn=role)["stateMachineArn"])


def test_who_writes_a_file_waits_until_the_share_shows_it_and_others_are_told_by_an_event(
    aws: MiniStack, gateway: StorageGateway, bucket: Bucket, told: str
) -> None:
    share = bucket.share("shots")
    wrote = now_ms()
    bucket.put("shots/s01/a.exr")
    done = wait(aws, gateway, "--bucket", bucket.name, "--key", "shots/s01/a.exr", "--timeout", "60")
    assert share.tree() == {"s01/a.exr"}
    assert done.status == 0, done.out + done.err
    assert f"{share.share_id}: Visible since the refresh that was accepted after the change" in done.out

    [message] = eventually(lambda: aws.client("sqs").receive_message(QueueUrl=told).get("Messages", []))
    event = json.loads(message["Body"])
    detail = event["detail"]
    assert (event["source"], event["resources"][0]) == ("s3-event-aggregator", share.arn)
    assert (detail["bucket"], detail["share"], detail["prefix"]) == (bucket.name, share.share_id, "shots/")
    assert (detail["folders"], detail["recursive"], detail["more-to-come"]) == (["/", "s01"], False, False)
    assert DELAY_SECONDS - 1 <= detail["seconds"] <= (now_ms() - wrote) / 1000

    states, machine = aws.client("stepfunctions"), json.loads(STARTS_A_MACHINE)[0]["Arn"]
    machine = machine.replace("123456789012", ACCOUNT)
    [started] = eventually(lambda: states.list_executions(stateMachineArn=machine)["executions"])
    assert json.loads(states.describe_execution(executionArn=started["executionArn"])["input"]) == detail


def test_who_waits_for_a_share_whose_gateway_is_offline_is_told_so_at_the_end_of_the_time(
    aws: MiniStack, gateway: StorageGateway, bucket: Bucket
) -> None:
    bucket.share(gateway_id="sgw-waited-for")
    gateway.set_online("sgw-waited-for", online=False)
    bucket.put("a.txt")
    eventually(lambda: any("Reason" in item for item in bucket.items()))
    flags = ("--bucket", bucket.name, "--key", "a.txt", "--timeout", "1")
    done = wait(aws, gateway, *flags)
    assert (done.status, done.err) == (1, "")
    assert "After 1 s:" in done.out
    assert "The specified gateway is not connected" in done.out
    quiet = wait(aws, gateway, *flags, "--quiet")
    assert (quiet.status, quiet.out, quiet.err) == (1, "", "")
    gateway.set_online("sgw-waited-for", online=True)


UPLOAD = """
import botocore.session

def handler(event, context):
    botocore.session.get_session().create_client("s3").put_object(Bucket=event["bucket"], Key=event["key"], Body=b"")
    return event
"""


@pytest.fixture
def upload(aws: MiniStack, role: str) -> Iterator[None]:
    """The function `upload` of the page."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as file:
        file.writestr("upload.py", UPLOAD)
    functions, content = aws.client("lambda"), {"ZipFile": code.getvalue()}
    functions.create_function(
        FunctionName="upload", Role=role, Runtime="python3.11", Handler="upload.handler", Code=content
    )
    yield
    functions.delete_function(FunctionName="upload")


def played(aws: MiniStack, state: dict[str, Any]) -> str:
    """An activity in the place of what the task `state` starts; its ARN. The service must take the parameters."""
    service, operation = state["Resource"].removeprefix("arn:aws:states:::").removesuffix(".sync").split(":")
    named = json.loads(
        re.sub(r'"(\w)(\w*)(\.\$)?":', lambda m: f'"{m[1].lower()}{m[2]}":', json.dumps(state["Parameters"]))
    )
    model = aws.client(service).meta.service_model
    validate_parameters(named, model.operation_model(operation[0].upper() + operation[1:]).input_shape)
    state["Resource"] = aws.client("stepfunctions").create_activity(name=f"{service}-{operation}")["activityArn"]
    return str(state["Resource"])


def test_the_state_machine_of_the_page_continues_when_its_upload_is_visible(
    aws: MiniStack,
    gateway: StorageGateway,
    bucket: Bucket,
    role: str,
    upload: None,  # noqa: ARG001
) -> None:
    """The local Step Functions starts neither a build nor, without Docker, a container: here the test plays them."""
    states, definition, share = aws.client("stepfunctions"), json.loads(MACHINE), bucket.share("shots")
    build, read = (played(aws, definition["States"][name]) for name in ("WaitUntilItIsVisible", "ReadTheShare"))
    machine = make_machine(aws, "upload-and-read", definition, role)
    given = json.dumps({"bucket": bucket.name, "key": "shots/s01/a.exr"})
    execution = states.start_execution(stateMachineArn=machine, input=given)["executionArn"]

    task = states.get_activity_task(activityArn=build)
    asked = json.loads(task["input"])
    [command] = yaml.safe_load(asked["BuildspecOverride"])["phases"]["build"]["commands"]
    variables = {each["Name"]: each["Value"] for each in asked["EnvironmentVariablesOverride"]}
    done = subprocess.run(
        ["sh", "-c", command.replace("scripts/wait.sh", f"'{sys.executable}' -m commands.operate wait.sh")],
        cwd=ROOT,
        env=aws.environment() | operator(aws) | variables | {"AWS_ENDPOINT_URL_STORAGE_GATEWAY": gateway.endpoint_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    states.send_task_success(taskToken=task["taskToken"], output="{}")

    task = states.get_activity_task(activityArn=read)
    assert share.tree() == {"s01/a.exr"}
    states.send_task_success(taskToken=task["taskToken"], output="{}")
    eventually(lambda: states.describe_execution(executionArn=execution)["status"] == "SUCCEEDED")
