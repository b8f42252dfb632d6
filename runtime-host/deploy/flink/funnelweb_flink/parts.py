"""From records to the parts of panes: what cannot be read, or was there before, ends here."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pyflink.common import Row, Time, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, ProcessFunction, RuntimeContext
from pyflink.datastream.state import StateTtlConfig, ValueState, ValueStateDescriptor

from . import topics
from .firing import Letter, Part
from .model import Batch, Event
from .operator import Operator, OperatorError
from .record import Behavior, Origin, Unreadable, decode

DEAD = OutputTag("dead", Types.PICKLED_BYTE_ARRAY())


class Decode(ProcessFunction):
    """Rows of the source to behaviours."""

    def __init__(self, topic_prefix: str) -> None:
        self._prefix = topic_prefix

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Any]:
        payload, origin = value[0], Origin(value[1], value[2], value[3])
        tenant = topics.tenant(self._prefix, origin.topic)
        try:
            if tenant is None:
                raise Unreadable("the topic is no tenant's")
            if payload is None:
                raise Unreadable("there is no value")
            yield decode(tenant, origin, bytes(payload), time.time_ns() // 1_000_000)
        except Unreadable as reason:
            yield DEAD, Letter(origin, str(reason), bytes(payload or b""))


class Parts(KeyedProcessFunction):
    """Of each behaviour, once, what each operator makes of it. Keyed by tenant and batch: batch and
    index together are one event's alone."""

    def __init__(self, operators: list[str], duplicates_ms: int) -> None:
        self._paths, self._duplicates_ms = operators, duplicates_ms
        self._operators: dict[str, Operator] = {}
        self._seen: ValueState

    def open(self, runtime_context: RuntimeContext) -> None:
        self._operators = Operator.load_all(self._paths)
        # A set of indexes as one number.
        seen = ValueStateDescriptor("seen", Types.PICKLED_BYTE_ARRAY())
        seen.enable_time_to_live(StateTtlConfig.new_builder(Time.milliseconds(self._duplicates_ms)).build())
        self._seen = runtime_context.get_state(seen)

    def process_element(self, value: Behavior, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        seen = self._seen.value() or 0
        if seen >> value.index & 1:
            return
        self._seen.update(seen | 1 << value.index)
        event = value.event
        for operator in self._operators.values():
            key, pane = key_of(operator.declaration.key, event), operator.windows.pane(event.timestamp_ms)
            part = Part(operator.name, value.tenant, key, pane, b"", value.origin, event.event_id)
            try:
                [accumulator] = operator.aggregate([Batch(key, pane, [event])])
                yield replace(part, accumulator=accumulator)
            except OperatorError as error:
                yield DEAD, part.letter(error)


def key_of(fields: list[str], event: Event) -> list[str]:
    parts = {
        "scenario": event.scenario_id,
        "user": event.user_id,
        "item": event.item_id,
        "group": event.group,
    }
    return [parts[one] for one in fields]
