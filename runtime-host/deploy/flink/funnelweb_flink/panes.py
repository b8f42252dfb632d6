"""Panes: what events of one key and slide add up to, told early and often.

A pane fires some time after something came to it, and when it is over. What comes after that
is told alone, under the place of its record: it counts, and no window has it. That a pane was
over is remembered, for after a failure the watermark begins anew.
"""

from collections.abc import Iterator

from pyflink.common import Time, Types
from pyflink.datastream import AggregateFunction, KeyedProcessFunction, RuntimeContext, TimeDomain
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

    def __init__(self, operators: list[str], early_ms: int, memory_s: int) -> None:
        self._paths, self._early_ms, self._memory_s = operators, early_ms, memory_s
        self._windows: dict[str, Windows] = {}
        self._total: AggregatingState
        self._of: ValueState
        self._fired: ValueState
        self._due: ValueState
        self._over: ValueState

    def open(self, runtime_context: RuntimeContext) -> None:
        loaded = [Operator.load(path) for path in self._paths]
        self._windows = {operator.name: Windows.of(operator.declaration) for operator in loaded}
        merge = Merge({operator.name: operator for operator in loaded})
        pickled = Types.PICKLED_BYTE_ARRAY()
        total = AggregatingStateDescriptor("total", merge, pickled)
        self._total = runtime_context.get_aggregating_state(total)
        # Which pane it is, without what is in it.
        self._of = runtime_context.get_state(ValueStateDescriptor("of", pickled))
        self._fired = runtime_context.get_state(ValueStateDescriptor("fired", pickled))
        # Whether something came to it that it has not told.
        self._due = runtime_context.get_state(ValueStateDescriptor("due", Types.BOOLEAN()))
        over = ValueStateDescriptor("over", Types.BOOLEAN())
        over.enable_time_to_live(StateTtlConfig.new_builder(Time.seconds(self._memory_s)).build())
        self._over = runtime_context.get_state(over)

    def process_element(self, value: Part, ctx: KeyedProcessFunction.Context) -> Iterator[Firing]:
        timers = ctx.timer_service()
        over_ms = self._windows[value.operator].over_ms(value.pane.from_ms)
        if self._over.value() or over_ms <= timers.current_watermark():
            late = f"{value.partition}:{value.offset}"
            yield Firing(value.operator, value.tenant, value.key, value.pane, value.accumulator, None, late)
            return
        self._total.add(value)
        if self._of.value() is None:
            self._of.update((value.operator, value.tenant, value.key, value.pane))
            # The last moment of the pane, so that windows that end then have all of it.
            timers.register_event_time_timer(value.pane.to_ms - 1)
            timers.register_event_time_timer(over_ms)
        if not self._due.value():
            self._due.update(True)
            timers.register_processing_time_timer(timers.current_processing_time() + self._early_ms)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Firing]:
        of = self._of.value()
        if of is None:
            return
        operator, tenant, key, pane = of
        if self._due.value():
            total = self._total.get()
            yield Firing(operator, tenant, key, pane, total, self._fired.value())
            self._fired.update(total)
            self._due.clear()
        in_event_time = ctx.time_domain() == TimeDomain.EVENT_TIME
        if in_event_time and timestamp >= self._windows[operator].over_ms(pane.from_ms):
            for state in (self._total, self._of, self._fired):
                state.clear()
            self._over.update(True)
