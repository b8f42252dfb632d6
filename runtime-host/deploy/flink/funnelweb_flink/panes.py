"""Panes: what events of one key and slide add up to, told with each of them.

A pane is kept long after it is over: what it has is then the same whichever of its events came
late, which after a failure, when the watermark begins anew, may be others than before it. No
window has what comes to one that is over.

There are no timers: PyFlink loses those that are set while a checkpoint begins, and what waited
for one would be told by no one.
"""

from collections.abc import Iterator

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
from .operator import Operator
from .window import Windows

NOTHING = b""


class Merge(AggregateFunction):
    """The component as Flink aggregates: the accumulator is the component's."""

    def __init__(self, operators: dict[str, Operator]) -> None:
        self._operators = operators

    def create_accumulator(self) -> tuple[str, bytes]:
        return "", NOTHING

    def add(self, value: Part, accumulator: tuple[str, bytes]) -> tuple[str, bytes]:
        return self.merge(accumulator, (value.operator, value.accumulator))

    def get_result(self, accumulator: tuple[str, bytes]) -> bytes:
        return accumulator[1]

    def merge(self, acc_a: tuple[str, bytes], acc_b: tuple[str, bytes]) -> tuple[str, bytes]:
        if not acc_a[0]:
            return acc_b
        if not acc_b[0]:
            return acc_a
        return acc_a[0], self._operators[acc_a[0]].merge([[acc_a[1], acc_b[1]]])[0]


class Panes(KeyedProcessFunction):
    """Keyed by the place of a part: operator, tenant, key and the begin of the pane."""

    def __init__(self, operators: list[str], memory_s: int) -> None:
        # What stores remember of a pane is gone before the pane is.
        self._paths, self._kept_s = operators, 2 * memory_s
        self._windows: dict[str, Windows] = {}
        self._total: AggregatingState
        self._fired: ValueState
        self._over: ValueState

    def open(self, runtime_context: RuntimeContext) -> None:
        loaded = [Operator.load(path) for path in self._paths]
        self._windows = {operator.name: Windows.of(operator.declaration) for operator in loaded}
        merge = Merge({operator.name: operator for operator in loaded})
        pickled = Types.PICKLED_BYTE_ARRAY()
        total = AggregatingStateDescriptor("total", merge, pickled)
        fired, over = ValueStateDescriptor("fired", pickled), ValueStateDescriptor("over", Types.BOOLEAN())
        for state in (total, fired, over):
            state.enable_time_to_live(StateTtlConfig.new_builder(Time.seconds(self._kept_s)).build())
        self._total = runtime_context.get_aggregating_state(total)
        self._fired = runtime_context.get_state(fired)
        self._over = runtime_context.get_state(over)

    def process_element(self, value: Part, ctx: KeyedProcessFunction.Context) -> Iterator[Firing]:
        over_ms = self._windows[value.operator].over_ms(value.pane.from_ms)
        over = bool(self._over.value()) or over_ms <= ctx.timer_service().current_watermark()
        self._total.add(value)
        total, before = self._total.get(), self._fired.value()
        # All three are kept as long as each other.
        self._fired.update(total)
        self._over.update(over)
        yield Firing(value.operator, value.tenant, value.key, value.pane, total, before, over)
