"""The documents of the gateways, in the table: what happens at a gateway is written, and then what is to be done.

The guarantee: a document is only written as it follows, by the rules of the module turns, from the one that stands in
the table; and a wake that it names was queued before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from event_aggregator.request import MIN_DELAY_MS, ActionQueue, WakeRequest
from event_aggregator.table import Attributes, Key, Table
from event_aggregator.turns import Gateway, GatewayEvent, Rules, Todo, Visit, Wake, Woken, step


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message: its id, the same over all of them, and when Lambda ends this process."""

    message_id: str
    deadline: int  # epoch milliseconds
    repeated: bool = False  # an earlier one may have put the same folders into the shares' windows


class Gateways(Table):
    """Each method raises botocore's errors.

    A container remembers each document as it wrote it last: if nobody else has written it, no read is needed.
    """

    def __init__(self, client: Any, name: str, queue: ActionQueue, rules: Rules, now: Callable[[], int]) -> None:
        super().__init__(client, name)
        self._queue = queue
        self.rules = rules
        self._now = now
        self.known: dict[Key, tuple[Gateway, str]] = {}  # with the version in the table, empty if there is none

    def read(self, key: Key) -> Gateway:
        return self.remember(key, self._read(key))

    def remember(self, key: Key, attributes: Any) -> Gateway:
        self.known[key] = _document(attributes)
        return self.known[key][0]

    def queue_wake(self, key: Key, wake: Wake) -> None:
        now = self._now()
        self._queue.send(WakeRequest(key, wake.token), now=now, due=max(wake.at, now + MIN_DELAY_MS))

    def apply(  # noqa: PLR0913 - one way to write for all that can happen
        self,
        key: Key,
        event: GatewayEvent,
        delivery: Delivery,
        *,
        takes: bool = True,
        leaves: bool = True,
        before_writing: Callable[[Gateway, Gateway, Todo], bool] | None = None,
    ) -> Todo | None:
        """Queue the wake that is needed, write what follows from what happened, and answer what else is to be done.

        A wake is queued before the document names it, for whoever dies in between may never come again. It may come
        before it is named: so a wake always writes the document, and whoever wanted to name it must look again.

        `takes` and `leaves` are those of a Visit. `before_writing` gets the document before and after, and what
        follows; it may do what must be done first, more than once, or answer False: then nothing is written, and the
        answer is None.
        """
        visit = Visit(delivery.deadline, takes, leaves)
        is_fresh = key not in self.known
        if is_fresh:
            self.read(key)
        while True:
            (before, version), now, new = self.known[key], self._now(), uuid4().hex
            after, todo = step(before, event, visit=visit, now=now, rules=self.rules, token=new)
            if after == before and not is_fresh:
                self.read(key)  # Promise: what was remembered may be old, and is no reason to write nothing
            elif before_writing and not before_writing(before, after, todo):
                if is_fresh:
                    return None
                self.read(key)  # the same promise
            elif after == before and not isinstance(event, Woken):
                break
            else:
                if todo.wake:
                    self.queue_wake(key, todo.wake)
                if self._written(key, after, version, new):
                    break
            is_fresh = True
        return todo

    def _written(self, key: Key, after: Gateway, version: str, new: str) -> bool:
        """Whether the document could be written as `after`; if not, it is known as somebody else has written it."""
        values = {":turns": {"S": after.to_json()}, ":new": {"S": new}}
        condition = "attribute_not_exists(Version)"
        if version:
            condition, values[":version"] = "Version = :version", {"S": version}
        # Promise: nobody's turn is lost, whoever else writes at the same time.
        written, met = self._update(key, "SET Turns = :turns, Version = :new", condition, values)
        self.known[key] = _document(met)
        # The SDK repeats a write whose answer was lost: then the one that is met is this one.
        return written or self.known[key][1] == new


def _document(attributes: Any) -> tuple[Gateway, str]:
    values = Attributes(attributes)
    return Gateway.from_json(values.text("Turns") or "{}"), values.text("Version") or ""
