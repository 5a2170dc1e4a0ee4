"""Keeps a document per gateway in the table, and changes it by the rules of the module turns.

Promise: a document is written only if it follows, by these rules, from the one in the table. A wake that it names was
queued before.
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
    """One delivery of a message."""

    message_id: str  # the same in each delivery of the message
    deadline: int  # when Lambda ends this invocation, epoch milliseconds
    repeated: bool = False  # an earlier delivery may have added the same folders to the shares' items


class Gateways(Table):
    """Methods raise botocore's errors.

    A container remembers each document that it wrote: if no other container has written it since, no read is needed.
    """

    def __init__(self, client: Any, name: str, queue: ActionQueue, rules: Rules, now: Callable[[], int]) -> None:
        super().__init__(client, name)
        self._queue = queue
        self.rules = rules
        self._now = now
        self.known: dict[Key, tuple[Gateway, str]] = {}  # with the version in the table, empty if it has none

    def read(self, key: Key) -> Gateway:
        return self.remember(key, self._read(key))

    def remember(self, key: Key, attributes: Any) -> Gateway:
        self.known[key] = _document(attributes)
        return self.known[key][0]

    def queue_wake(self, key: Key, wake: Wake) -> None:
        now = self._now()
        self._queue.send(WakeRequest(key, wake.token), now=now, due=max(wake.at, now + MIN_DELAY_MS))

    def apply(  # noqa: PLR0913 - one way to write for all events
        self,
        key: Key,
        event: GatewayEvent,
        delivery: Delivery,
        *,
        may_claim: bool = True,
        queues_wake: bool = True,
        before_writing: Callable[[Gateway, Gateway, Todo], bool] | None = None,
    ) -> Todo | None:
        """Queue the wake that is needed, write the document after `event`, and return what else is to be done.

        The wake is queued before the document names it, because an invocation that dies in between may never come
        again. The wake may arrive before that. So a wake always writes the document, and the invocation that was about
        to write its name must read again.

        `may_claim` and `queues_wake` are those of a Visit. `before_writing` gets the document before and after the
        event, and the Todo. It does what must be done before the write, and may be called again. If it returns False,
        nothing is written, and the answer is None.
        """
        visit = Visit(delivery.deadline, may_claim, queues_wake)
        is_fresh = key not in self.known  # the document is read in this call, not remembered
        if is_fresh:
            self.read(key)
        while True:
            (before, version), now, new = self.known[key], self._now(), uuid4().hex
            after, todo = step(before, event, visit=visit, now=now, rules=self.rules, token=new)
            if after == before and not is_fresh:
                self.read(key)  # Promise: a remembered document may be old, so it is no reason not to write
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
        """Write the document. False if another container has written it since; then that one is remembered."""
        values = {":turns": {"S": after.to_json()}, ":new": {"S": new}}
        condition = "attribute_not_exists(Version)"
        if version:
            condition, values[":version"] = "Version = :version", {"S": version}
        # Promise: no share loses its turn when two containers write at the same time.
        written, met = self._update(key, "SET Turns = :turns, Version = :new", condition, values)
        self.known[key] = _document(met)
        # If the answer of the first attempt was lost, the SDK repeats the write, and finds its own version.
        return written or self.known[key][1] == new


def _document(attributes: Any) -> tuple[Gateway, str]:
    values = Attributes(attributes)
    return Gateway.from_json(values.text("Turns") or "{}"), values.text("Version") or ""
