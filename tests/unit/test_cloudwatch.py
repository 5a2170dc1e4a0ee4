"""The dashboard, the alarms and the queries of cloudwatch/, as they are sent; without AWS."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from event_aggregator.observability import METRICS
from tests.unit.deployed import TEMPLATE, resources

ROOT = Path(__file__).parents[2]
DASHBOARD = (ROOT / "cloudwatch/dashboard.json").read_text()
QUERIES = sorted((ROOT / "cloudwatch").glob("*.logs"))

# Those of the longest prefix that the scripts allow.
PREFIX = "p" * 32
NAMES = {
    "Partition": "aws-cn",
    "Region": "cn-northwest-1",
    "Account": "123456789012",
    "NamePrefix": PREFIX,
    "Aggregator": f"{PREFIX}S3EventAggregator",
    "Refresh": f"{PREFIX}S3StorageGatewayRefresh",
    "Queue": f"{PREFIX}S3EventAggregatorActionQueue",
    "DeadLetterQueue": f"{PREFIX}S3EventAggregatorActionQueueDeadLetter",
    "Table": f"{PREFIX}S3EventAggregator",
}
OF_CLOUDFORMATION = {"AWS::Partition": "aws-cn", "AWS::Region": NAMES["Region"], "AWS::AccountId": NAMES["Account"]}
IN_THE_TEMPLATE = resources("AWS::CloudWatch::Dashboard", NamePrefix=PREFIX, **OF_CLOUDFORMATION)["Dashboard"]
WIDGETS: list[dict[str, Any]] = json.loads(IN_THE_TEMPLATE["DashboardBody"])["widgets"]
PUT = list(resources("AWS::CloudWatch::Alarm", NamePrefix=PREFIX, **OF_CLOUDFORMATION).values())
QUERIED = re.findall(r"MAX\((\w+)\)", json.dumps(PUT))
# What a metric of the code is called.
METRIC = re.compile(
    r"\b(?:Changes|Windows|Refreshes|Shares|Folders|WholeShare|Seconds|Waiting|Visible|Notifications)(?:[A-Z][a-z]+)+\b"
)


def metrics_of_the_code() -> set[str]:
    """The metrics that are known to `measure`, and which a line of the code gives it."""
    text = "".join(path.read_text() for path in (ROOT / "src/event_aggregator").glob("*.py"))
    calls = re.sub(r'"\w+": MetricUnit', "", text)  # what remains without the table of all metrics
    return {name for name in METRICS if f"{name}=" in calls or f'"{name}"' in calls}


@pytest.fixture(scope="module")
def cloudwatch() -> Any:
    return botocore.session.get_session().get_service_model("cloudwatch")


# The dashboard


def test_the_dashboard_has_only_placeholders_that_are_filled_in() -> None:
    assert set(re.findall(r"\$\{(\w+)\}", DASHBOARD)) <= NAMES.keys()
    assert DASHBOARD.count("$") == len(re.findall(r"\$\{\w+\}", DASHBOARD))
    assert "$" not in IN_THE_TEMPLATE["DashboardBody"]


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: f"{widget['x']},{widget['y']}")
def test_a_widget_has_a_place_on_the_grid_and_says_what_it_shows(widget: dict[str, Any]) -> None:
    assert widget["type"] in ("text", "alarm", "metric", "log")
    assert widget["x"] >= 0
    assert widget["width"] >= 1
    assert widget["x"] + widget["width"] <= 24
    assert widget["height"] >= 1
    properties = widget["properties"]
    if widget["type"] == "text":
        assert properties["markdown"].startswith("#")
    else:
        assert properties["title"]
    if widget["type"] in ("metric", "log"):
        assert properties["region"] == NAMES["Region"]


def test_no_two_widgets_lie_on_one_another() -> None:
    def cells(widget: dict[str, Any]) -> set[tuple[int, int]]:
        x, y = widget["x"], widget["y"]
        return set(itertools.product(range(x, x + widget["width"]), range(y, y + widget["height"])))

    assert not [(one, other) for one, other in itertools.combinations(WIDGETS, 2) if cells(one) & cells(other)]


def test_the_sections_stand_in_the_order_of_a_newcomers_questions() -> None:
    texts = [widget for widget in WIDGETS if widget["type"] == "text"]
    titles = [text["properties"]["markdown"].splitlines()[0] for text in sorted(texts, key=lambda text: text["y"])]

    assert titles == [
        "# S3 changes on file shares",
        "## Is anything stale?",
        "## How fresh",
        "## How much was saved",
        "## What waits",
        "## What failed",
        "## What it costs",
    ]


def test_the_dashboard_shows_the_state_of_every_alarm() -> None:
    (shown,) = [widget["properties"]["alarms"] for widget in WIDGETS if widget["type"] == "alarm"]

    stem = f"arn:aws-cn:cloudwatch:{NAMES['Region']}:{NAMES['Account']}:alarm:"
    assert shown == [stem + alarm["AlarmName"] for alarm in PUT]


def test_a_search_finds_only_what_this_stacks_functions_have_emitted() -> None:
    rows = [row for widget in WIDGETS for row in widget["properties"].get("metrics", [])]
    searches = [row[0]["expression"] for row in rows if "expression" in row[0] and "SEARCH" in row[0]["expression"]]

    of_the_aggregator = {"ChangesAbsorbed", "ChangesIgnored", "WindowsOpened"}
    assert searches
    for search in searches:
        (name,) = METRIC.findall(search)
        service = NAMES["Aggregator"] if name in of_the_aggregator else NAMES["Refresh"]
        assert f"""SEARCH('{{S3EventAggregator,bucket,service}} MetricName="{name}" service="{service}"', '""" in search


def test_the_dashboard_is_what_put_dashboard_takes(cloudwatch: Any) -> None:
    body = json.dumps({"widgets": WIDGETS})
    shape = cloudwatch.operation_model("PutDashboard").input_shape

    assert ParamValidator().validate({"DashboardName": "d", "DashboardBody": body}, shape).generate_report() == ""


# The code's metrics


@pytest.mark.parametrize("path", ["cloudwatch/dashboard.json", "template.yaml", "README.md"])
def test_every_metric_that_is_named_is_emitted_by_the_code(path: str) -> None:
    others = TEMPLATE["Parameters"].keys() | TEMPLATE["Resources"].keys()
    named = set(METRIC.findall((ROOT / path).read_text())) - others

    assert named
    assert named - metrics_of_the_code() == set()


def test_every_metric_of_the_code_is_on_the_dashboard_or_in_an_alarm() -> None:
    assert metrics_of_the_code() - set(METRIC.findall(DASHBOARD)) - set(QUERIED) == set()


# The alarms


@pytest.mark.parametrize("alarm", PUT, ids=lambda alarm: alarm["AlarmName"].removeprefix(PREFIX))
def test_an_alarm_keeps_the_constraints_of_put_metric_alarm(alarm: dict[str, Any], cloudwatch: Any) -> None:
    shape = cloudwatch.operation_model("PutMetricAlarm").input_shape

    assert ParamValidator().validate(alarm, shape).generate_report() == ""
    for name, value in alarm.items():
        rules = shape.members[name].metadata
        assert value in rules.get("enum", [value])
        assert not isinstance(value, str | list) or len(value) <= rules.get("max", len(value))
    assert ("Metrics" in alarm) != ("MetricName" in alarm)
    period = alarm["Metrics"][0]["Period"] if "Metrics" in alarm else alarm["Period"]
    assert period % 60 == 0
    assert period * alarm["EvaluationPeriods"] <= 24 * 60 * 60
    assert alarm["TreatMissingData"] == "notBreaching"


@pytest.mark.parametrize("alarm", PUT, ids=lambda alarm: alarm["AlarmName"].removeprefix(PREFIX))
def test_an_alarm_says_which_command_to_run_on_this_stack(alarm: dict[str, Any]) -> None:
    commands = re.findall(r"scripts/[a-z-]+\.sh|aws logs tail", alarm["AlarmDescription"])
    flags = f'--region {NAMES["Region"]} --name-prefix "{PREFIX}"'
    scripts = [command for command in commands if command.startswith("scripts/")]

    assert commands
    assert alarm["AlarmDescription"].count(flags) == len(scripts)


# The queries


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_a_query_says_what_to_fill_in_and_names_only_fields_that_the_functions_log(path: Path) -> None:
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    query = " ".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    fields, condition, order, limit = (part.strip() for part in query.split("|"))

    assert any("Fill in" in comment for comment in comments)
    assert fields.startswith("fields ")
    assert {field.strip() for field in fields.removeprefix("fields ").split(",")} <= {
        *("@timestamp", "level", "message", "service", "bucket", "share", "window"),
        *("correlation_id", "folders", "xray_trace_id"),
    }
    assert re.fullmatch(r'filter (bucket|correlation_id) = "[^"]+"( and ispresent\(message\))?', condition)
    assert order == "sort @timestamp asc"
    assert limit == "limit 1000"
