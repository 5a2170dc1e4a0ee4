"""DynamoDB's answers, by moto's engine called directly: no HTTP, no client, and no expression evaluated twice.

Conditions of this project compare and updates copy, and nothing calculates. So what moto answers depends only on the
order of the numbers that the condition names, and on which others, and which strings, are equal: all are renamed before
moto is asked, and back afterwards, and its answers are remembered. Attributes that the call does not name are put
aside: it neither reads nor changes them. An update expression is parsed once. (test_engine compares it with moto.)
"""

import json
import re
from functools import cache
from typing import Any
from unittest.mock import patch

from moto.dynamodb import models
from moto.dynamodb.exceptions import ConditionalCheckFailed
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing.expressions import UpdateExpressionParser
from moto.dynamodb.responses import DynamoHandler

Attributes = dict[str, Any]

text_of = json.JSONEncoder(sort_keys=True).encode


class Row:
    """An item as it is between two writes; there is one Row for each text, so that identity is equality."""

    __slots__ = ("attributes", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.attributes: Attributes = json.loads(text)


def create_table(backend: DynamoDBBackend, name: str) -> Table:
    """A table as template.yaml has it."""
    return backend.create_table(
        name,
        schema=[{"AttributeName": "BucketName", "KeyType": "HASH"}],
        throughput=None,
        attr=[{"AttributeName": "BucketName", "AttributeType": "S"}],
        global_indexes=None,
        indexes=None,
        streams=None,
        billing_mode="PAY_PER_REQUEST",
        sse_specification=None,
        tags=[],
        deletion_protection_enabled=False,
        warm_throughput=None,
    )


class _Handler(DynamoHandler):  # type: ignore[misc]
    """moto's handler of DynamoDB requests, with one table."""

    def __init__(self) -> None:
        super().__init__()
        self._backend = DynamoDBBackend("us-east-1", "123456789012")
        self.table = create_table(self._backend, "windows")

    @property
    def dynamodb_backend(self) -> DynamoDBBackend:
        return self._backend

    def ask(self, operation: str, parameters: Attributes, items: list[Attributes]) -> Any:
        self.table.items.clear()
        for item in items:
            self.table.put_item(item)
        self.body = parameters
        result: Any = getattr(self, operation)()
        return result._result

    def update_again(self, parameters: Attributes, items: list[Attributes]) -> Attributes:
        """Like `ask("update_item", ...)`, for an expression that moto has validated: without doing that again."""
        self.table.items.clear()
        for item in items:
            self.table.put_item(item)
        with patch.object(models, "UpdateExpressionParser", _Parser):
            after = self._backend.update_item(
                "windows",
                parameters["Key"],
                parameters["UpdateExpression"],
                {},
                parameters["ExpressionAttributeValues"],
                condition_expression=parameters.get("ConditionExpression"),
                return_values_on_condition_check_failure=parameters["ReturnValuesOnConditionCheckFailure"],
            )
        attributes: Attributes = after.to_json()
        return attributes


class _Parser:
    """moto's parser of update expressions, asked once for each; moto copies what it gives before it works on it."""

    make = cache(UpdateExpressionParser.make)


class Engine:
    def __init__(self) -> None:
        self._handler = _Handler()
        self._rows: dict[str, Row] = {}
        self._exact: dict[tuple[str, str], tuple[bool, Row | None]] = {}
        self._renamed: dict[str, tuple[bool, Attributes | None]] = {}
        self._validated: set[tuple[str, str, str]] = set()

    def row(self, attributes: Attributes | None) -> Row | None:
        if attributes is None:
            return None
        for value in attributes.values():
            if "SS" in value:
                value["SS"].sort()
        text = text_of(attributes)
        return self._rows.setdefault(text, Row(text))

    def update(self, row: Row | None, text: str, parameters: Attributes) -> tuple[bool, Row | None]:
        """Whether the condition of UpdateItem (`text` is `parameters` as JSON) holds for `row`, and the item after."""
        asked = (row.text if row else "", text)
        if asked not in self._exact:
            ok, after = self.evaluate(row.attributes if row else None, parameters)
            self._exact[asked] = ok, self.row(after)
        return self._exact[asked]

    def evaluate(self, before: Attributes | None, parameters: Attributes) -> tuple[bool, Attributes | None]:
        """Like `update`, of an item that is not kept. Other errors than a failed condition are moto's."""
        assert "+" not in parameters["UpdateExpression"]
        assert "-" not in parameters["UpdateExpression"]
        named, compared = _named(parameters["UpdateExpression"]), _named(parameters.get("ConditionExpression", ""))
        named |= compared
        key = parameters["Key"]
        aside = {name: value for name, value in (before or key).items() if name not in named}
        read = None if before is None else {name: value for name, value in before.items() if name in named}
        names = _Names((read or {}) | parameters["ExpressionAttributeValues"], compared)
        item = names.rename(read)
        if item is not None:
            item |= key
        renamed = parameters | {"ExpressionAttributeValues": names.rename(parameters["ExpressionAttributeValues"])}
        text = text_of([item, renamed])
        if text not in self._renamed:
            self._renamed[text] = self._update_by_moto(item, renamed)
        ok, after = self._renamed[text]
        if after is None:
            return ok, None
        return ok, names.rename_back(after) | aside

    def _update_by_moto(self, item: Attributes | None, parameters: Attributes) -> tuple[bool, Attributes | None]:
        items = [item] if item is not None else []
        form = (
            parameters["UpdateExpression"],
            parameters.get("ConditionExpression", ""),
            " ".join(sorted(parameters["ExpressionAttributeValues"])),
        )
        try:
            if form in self._validated:
                answer = self._handler.update_again(parameters, items)
            else:
                answer = self._handler.ask("update_item", parameters, items)
                self._validated.add(form)
        except ConditionalCheckFailed as failed:
            met: Attributes | None = json.loads(failed.description).get("Item")
            return False, met
        return True, json.loads(json.dumps(answer["Attributes"]))

    def scan(self, rows: list[Row], parameters: Attributes) -> list[Attributes]:
        answer = self._handler.ask("scan", parameters, [json.loads(row.text) for row in rows])
        items: list[Attributes] = json.loads(json.dumps(answer["Items"]))
        return items


@cache
def _named(expression: str) -> frozenset[str]:
    """The attributes that may be named there, and the values, with their colon: every word."""
    return frozenset(re.findall(r":?\w+", expression))


class _Names:
    """Numbers that are compared by their rank, others and strings in order of appearance, and the way back."""

    def __init__(self, attributes: Attributes, compared: frozenset[str]) -> None:
        ranked: set[int] = set()
        others: dict[int, None] = {}
        self._strings: dict[str, str] = {"*": "*"}
        for name in sorted(attributes):
            (kind, value), *_ = attributes[name].items()
            if kind != "N":
                for text in [value] if kind == "S" else sorted(value):
                    self._strings.setdefault(text, f"s{len(self._strings)}")
            elif name in compared:
                ranked.add(int(value))
            else:
                others[int(value)] = None
        ordered = [*sorted(ranked), *(number for number in others if number not in ranked)]
        self._numbers = {str(number): str(region) for region, number in enumerate(ordered, start=1)}
        self._back = {new: old for old, new in self._strings.items()}
        self._numbers_back = {new: old for old, new in self._numbers.items()}

    def rename(self, attributes: Attributes | None) -> Attributes | None:
        return None if attributes is None else _mapped(attributes, self._strings, self._numbers)

    def rename_back(self, attributes: Attributes) -> Attributes:
        return _mapped(attributes, self._back, self._numbers_back)


def _mapped(attributes: Attributes, strings: dict[str, str], numbers: dict[str, str]) -> Attributes:
    new: Attributes = {}
    for name, typed in attributes.items():
        (kind, value), *_ = typed.items()
        if kind == "N":
            new[name] = {"N": numbers[value]}
        elif kind == "S":
            new[name] = {"S": strings.get(value, value)}
        else:
            new[name] = {"SS": sorted(strings[text] for text in value)}
    return new


ENGINE = Engine()
