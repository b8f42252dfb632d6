"""Panes: what events of one key and slide add up to, told with each of them.

A pane is kept long after it is over: what it has is then the same whichever of its events came
late, which after a failure, when the watermark begins anew, may be others than before it. No
window has what comes to one that is over.

There are no timers: PyFlink loses those that are set while a checkpoint begins, and what waited
for one would be told by no one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pyflink.common import Time, Types
from pyflink.datastream import AggregateFunction, KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import (
    AggregatingState,
    AggregatingStateDescriptor,
    StateTtlConfig,
    ValueState,
    ValueStateDescriptor,
)

from .firing import Firing, Part
from .model import Aggregated
from .operator import Operator, OperatorError
from .parts import DEAD
from .totals import Sums


@dataclass(frozen=True, slots=True)
class Pane:
    """All parts as one, and what that adds."""

    whole: Part
    sums: Sums


class Merge(AggregateFunction):
    """The component as Flink aggregates. A part that it fails with, or with which a pane would add
    what none may, is not added: the pane stays as it was."""

    def __init__(self, operators: dict[str, Operator]) -> None:
        self._operators = operators

    def create_accumulator(self) -> Pane | None:
        return None

    def add(self, value: Part, accumulator: Pane | None) -> Pane:
        operator, whole = self._operators[value.operator], value
        if accumulator is not None:
            [merged] = operator.merge([[accumulator.whole.accumulator, value.accumulator]])
            whole = replace(value, accumulator=merged)
        [changes] = operator.changes([Aggregated(whole.key, whole.pane, whole.accumulator)])
        return Pane(whole, Sums.of(changes, whole.pane))

    def get_result(self, accumulator: Pane | None) -> Pane | None:
        return accumulator

    def merge(self, acc_a: Pane | None, acc_b: Pane | None) -> Pane | None:
        return acc_a if acc_b is None else self.add(acc_b.whole, acc_a)


class Panes(KeyedProcessFunction):
    """Keyed by the place of a part: operator, tenant, key and the begin of the pane."""

    def __init__(self, operators: list[str], memory_s: int) -> None:
        # What stores remember of a pane is gone before the pane is.
        self._paths, self._kept_s = operators, 2 * memory_s
        self._operators: dict[str, Operator] = {}
        self._pane: AggregatingState
        self._over: ValueState

    def open(self, runtime_context: RuntimeContext) -> None:
        self._operators = Operator.load_all(self._paths)
        pane = AggregatingStateDescriptor("pane", Merge(self._operators), Types.PICKLED_BYTE_ARRAY())
        over = ValueStateDescriptor("over", Types.BOOLEAN())
        for state in (pane, over):
            state.enable_time_to_live(StateTtlConfig.new_builder(Time.seconds(self._kept_s)).build())
        self._pane = runtime_context.get_aggregating_state(pane)
        self._over = runtime_context.get_state(over)

    def process_element(self, value: Part, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        before: Pane | None = self._pane.get()
        try:
            self._pane.add(value)
        except OperatorError as error:
            yield DEAD, value.letter(error)
            return
        now: Pane = self._pane.get()
        over_ms = self._operators[value.operator].windows.over_ms(value.pane.from_ms)
        over = bool(self._over.value()) or over_ms <= ctx.timer_service().current_watermark()
        # Kept as long as the pane.
        self._over.update(over)
        sums_before = None if before is None else before.sums
        yield Firing(
            value.operator, value.tenant, value.key, value.pane, now.whole.accumulator, now.sums, sums_before, over
        )
