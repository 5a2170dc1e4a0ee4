"""Puts the policies of iam/, the dashboard and the version into template.yaml: python dev/fill_template.py

A mark (>>>) names a file, and what its ${Placeholders} stand for beside those of NAMES. The rest of the template is
written by hand.
"""

import json
import re
from pathlib import Path
from string import Template

import yaml

ROOT = Path(__file__).parents[1]
[VERSION] = re.findall('(?<=^__version__ = ").*(?="$)', (ROOT / "src/event_aggregator/__init__.py").read_text(), re.M)
MARKED = re.compile(r"^( *)# >>> (\S+)(.*)\n(?:.*\n)*?\1# <<<\n", re.MULTILINE)

# What the placeholders of the files are in CloudFormation: a text, of which !Sub makes the value ...
NAMES = {
    "Partition": "${AWS::Partition}",
    "Region": "${AWS::Region}",
    "Account": "${AWS::AccountId}",
    "Table": "${NamePrefix}S3EventAggregator",
    "Queue": "${NamePrefix}S3EventAggregatorActionQueue",
    "DeadLetterQueue": "${NamePrefix}S3EventAggregatorActionQueueDeadLetter",
    "Aggregator": "${NamePrefix}S3EventAggregator",
    "Refresh": "${NamePrefix}S3StorageGatewayRefresh",
    "CompletionRule": "${NamePrefix}S3EventAggregatorRefreshComplete",
    "SweepRule": "${NamePrefix}S3EventAggregatorSweep",
}
# ... or, of those that are a whole value, that value.
VALUES = {
    "GatewayRegions": "!If [HasRegions, !Ref GatewayRegions, !Ref AWS::Region]",
    "GatewayRoles": "!Ref GatewayRoleArns",
    "ReattachBuckets": "!Ref ReattachBucketArns",
    "KmsKeys": "[!If [HasKey, !Ref KmsKey, !Ref AWS::NoValue],"
    " !If [HasEarlierKey, !Ref EarlierKmsKey, !Ref AWS::NoValue]]",
}


def filled(template: str) -> str:
    """The template with this version, and with what the files say between its marks.

    KeyError names a placeholder that has no value.
    """
    template = re.sub(r"(?<=^Description: 's3-event-aggregator )[^:]*|(?<= VERSION: ).*", VERSION, template, flags=re.M)
    return MARKED.sub(lambda mark: _filled(*mark.groups()), template)


def _filled(indent: str, file: str, more: str) -> str:
    names = NAMES | dict(pair.split("=", 1) for pair in more.split())
    text = (ROOT / file).read_text()
    if file.startswith("iam/"):
        statements = json.loads(text)["Statement"]
        text = yaml.safe_dump(statements, sort_keys=False, width=10_000)
        text = re.sub(r"(?<= )\$\{(\w+)\}$", lambda alone: VALUES[alone[1]], text, flags=re.MULTILINE)
        text = Template(re.sub(r"((?:: |- ))(.*\$\{)", r"\1!Sub \2", text)).substitute(names)
    else:
        body = Template(text).substitute(names)
        text = "DashboardBody: !Sub |\n" + "".join(f"  {line}\n" for line in body.splitlines())
    lines = "".join(f"{indent}{line}\n" for line in text.splitlines())
    return f"{indent}# >>> {file}{more}\n{lines}{indent}# <<<\n"


if __name__ == "__main__":
    path = ROOT / "template.yaml"
    path.write_text(filled(path.read_text()))
