"""MiniStack's process: MiniStack with what it lacks for the demo and the tests, from the parent's start to its end.

It runs in MiniStack's virtual environment. Each function here takes the place of one of MiniStack's.
"""

import itertools
import json
import os
import runpy
import shutil
import signal
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import iam, lambda_svc
from ministack.services.cloudformation import provisioners

MAX_CONTAINERS = 2
# The reads of Lambda that MiniStack takes for others, by the last part of the path.
LAMBDA_READS = {
    "account-settings": "GetAccountSettings",
    "concurrency": "GetFunctionConcurrency",
    "event-invoke-config": "GetFunctionEventInvokeConfig",
    "recursion-config": "GetFunctionRecursionConfig",
}

unzip, unzipping = zipfile.ZipFile.extractall, threading.Lock()
request_tag_context, lambda_action = iam_actions.request_tag_context, iam_actions._lambda_action
extract_resource_arn, acquire_worker = iam_actions.extract_resource_arn, lambda_svc.acquire_worker
alarm_record, handlers = provisioners._cw_metric_alarm_record, provisioners._RESOURCE_HANDLERS


# Containers


def unzipped_once(archive: zipfile.ZipFile, folder: str) -> None:
    """The containers of a function share its code, with what Python compiles of it, which is half of a cold start."""
    content = tuple((member.filename, member.CRC) for member in archive.infolist())
    shared = Path(os.environ["TMPDIR"], f"code-{hash(content)}")
    with unzipping:
        if not shared.exists():
            unzip(archive, shared)
    for entry in shared.iterdir():
        Path(folder, entry.name).symlink_to(entry)


def one_of_few_containers(*function: Any, **more: Any) -> Any:
    """MiniStack starts a container for each event that comes while the others are busy: twenty for a burst of twenty
    uploads, each with a second of CPU. Here an event waits for a container."""
    while (found := acquire_worker(*function, **more, max_concurrency=MAX_CONTAINERS))[0] is None:
        time.sleep(0.02)
    return found


# What is asked of IAM for a call


def context_with_sources(service: str, action: str, body: bytes, params: Any) -> dict[str, str]:
    """A role's policy may say which sources the events that it sends may have."""
    found: dict[str, str] = request_tag_context(service, action, body, params)
    if action == "events:PutEvents":
        found["events:source"] = ",".join(sorted({entry["Source"] for entry in json.loads(body)["Entries"]}))
    return found


def lambda_action_of(method: str, path: str) -> Any:
    last = path.rstrip("/").rpartition("/")[2]
    return LAMBDA_READS[last] if method == "GET" and last in LAMBDA_READS else lambda_action(method, path)


def resource_arn(service: str, method: str, path: str, headers: Any, body: bytes, *more: Any) -> Any:
    """MiniStack does not know which rule's targets, or which role's policies, are asked for."""
    if service == "events" and (rule := json.loads(body or "{}").get("Rule")):
        region, account = more[-2:]
        return f"arn:aws:events:{region}:{account}:rule/default/{rule}"
    if service == "iam" and (source := iam._p(urllib.parse.parse_qs(body.decode()), "PolicySourceArn")):
        return source
    return extract_resource_arn(service, method, path, headers, body, *more)


# SimulatePrincipalPolicy: MiniStack's knows one resource, no context and no boundary. (Its organizations know no SCP.)


def listed(parameters: Any, name: str) -> list[str]:
    return list(itertools.takewhile(bool, (iam._p(parameters, name % number) for number in itertools.count(1))))


def simulate_principal_policy(parameters: Any) -> Any:
    arn = iam._p(parameters, "PolicySourceArn")
    account, (kind, *_, name) = arn.split(":")[4], arn.split(":")[5].split("/")
    is_role = kind == "role"
    principals = iam._roles if is_role else iam._users
    if principals.get_scoped(account, None, name) is None:
        return iam._error(404, "NoSuchEntity", f"The {kind} with name {name} cannot be found.", ns="iam")
    policies = (iam_evaluator._gather_role_policies if is_role else iam_evaluator._gather_user_policies)(name, account)
    limits = iam_evaluator._permissions_boundary(principals, name, account)
    entry = "ContextEntries.member.%d.ContextKey"
    context = {
        key.lower(): listed(parameters, f"ContextEntries.member.{number}.ContextKeyValues.member.%d")[0]
        for number, key in enumerate(listed(parameters, f"{entry}Name"), start=1)
    }
    region, principal = context.get("aws:requestedregion", iam.get_region()), "AssumedRole" if is_role else "User"
    results = ""
    for action, resource in itertools.product(
        listed(parameters, "ActionNames.member.%d"), listed(parameters, "ResourceArns.member.%d") or ["*"]
    ):
        asked = iam_evaluator.EvalContext(
            arn, principal, account, action, resource, region, "127.0.0.1", False, service_context=context
        )
        results += f"<member>{_result(asked, policies, limits)}</member>"
    answer = f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
    answer = f"<SimulatePrincipalPolicyResult>{answer}</SimulatePrincipalPolicyResult>"
    return iam._xml(200, "SimulatePrincipalPolicyResponse", answer, ns="iam")


def _result(asked: Any, policies: Any, limits: Any) -> str:
    decision = iam_evaluator.evaluate(asked, policies, *limits).decision
    told = {"Allow": "allowed", "Deny": "explicitDeny"}.get(decision, "implicitDeny")
    bounded = all(iam_evaluator.evaluate(asked, limit).decision == "Allow" for limit in limits)
    boundary = f"<AllowedByPermissionsBoundary>{str(bounded).lower()}</AllowedByPermissionsBoundary>" if limits else ""
    return (
        f"<EvalActionName>{asked.action}</EvalActionName><EvalResourceName>{asked.resource_arn}</EvalResourceName>"
        f"<EvalDecision>{told}</EvalDecision>"
        f"<PermissionsBoundaryDecisionDetail>{boundary}</PermissionsBoundaryDecisionDetail>"
    )


# CloudFormation refuses an alarm on a query, and leaves a function's recursive loop, subnets and key out


def alarm_without_query(name: str, properties: dict[str, Any]) -> Any:
    plain = {"Namespace": "-", "MetricName": "-", "Statistic": "Maximum", "Period": 60}
    return alarm_record(name, {**plain, **{key: value for key, value in properties.items() if key != "Metrics"}})


def function_with_the_rest(make: Callable[..., Any], position: int) -> Callable[..., Any]:
    def made(*arguments: Any) -> Any:
        name, attributes = make(*arguments)
        function, properties = lambda_svc._functions[name], arguments[position]
        function["recursive_loop"] = properties.get("RecursiveLoop", "Terminate")
        function["config"]["KMSKeyArn"] = properties.get("KmsKeyArn", "")
        function["config"]["VpcConfig"] = properties.get("VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []})
        return name, attributes

    return made


def end_with_parent() -> None:
    """Standard input is a pipe from the parent: its end is the parent's end, be it by SIGKILL, on every system."""
    os.read(0, 1)
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os.killpg(0, signal.SIGTERM)
    time.sleep(5)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    zipfile.ZipFile.extractall = unzipped_once  # type: ignore[method-assign, assignment]
    lambda_svc.acquire_worker = one_of_few_containers
    iam_actions.request_tag_context = context_with_sources
    iam_actions._lambda_action = lambda_action_of
    iam_actions.extract_resource_arn = resource_arn
    iam._IAM_HANDLERS["SimulatePrincipalPolicy"] = simulate_principal_policy
    provisioners._cw_metric_alarm_record = alarm_without_query
    of_functions = handlers["AWS::Lambda::Function"]
    of_functions["create"] = function_with_the_rest(of_functions["create"], 1)
    of_functions["update"] = function_with_the_rest(of_functions["update"], 2)
    threading.Thread(target=end_with_parent, daemon=True).start()
    runpy.run_module("ministack", run_name="__main__")
