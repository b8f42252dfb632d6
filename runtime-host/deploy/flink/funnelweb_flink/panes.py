"""Panes: what events of one key and slide add up to, told early and often.

A pane fires some time after something came to it, and at its end. It is kept long after it is
over: what it has is then the same whichever of its events came late, which after a failure,
when the watermark begins anew, may be others than before it. No window has what comes to one
that is over.
"""

from collections.abc import Iterator

from pyflink.common import Types
from pyflink.datastream import AggregateFunction, KeyedProcessFunction, RuntimeContext, TimeDomain
from pyflink.datastream.state import (
    AggregatingState,
    AggregatingStateDescriptor,
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
        self._paths, self._early_ms = operators, early_ms
        # What stores remember of a pane is gone before the pane is.
        self._kept_ms = 2 * 1000 * memory_s
        self._windows: dict[str, Windows] = {}
        self._total: AggregatingState
        self._of: ValueState
        self._fired: ValueState
        self._due: ValueState
        self._over: ValueState
        self._touched: ValueState
        self._until: ValueState

    def open(self, runtime_context: RuntimeContext) -> None:
        loaded = [Operator.load(path) for path in self._paths]
        self._windows = {operator.name: Windows.of(operator.declaration) for operator in loaded}
        merge = Merge({operator.name: operator for operator in loaded})
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._total = runtime_context.get_aggregating_state(AggregatingStateDescriptor("total", merge, pickled))
        # Which pane it is, without what is in it.
        self._of = runtime_context.get_state(ValueStateDescriptor("of", pickled))
        self._fired = runtime_context.get_state(ValueStateDescriptor("fired", pickled))
        # Whether something came to it that it has not told.
        self._due = runtime_context.get_state(ValueStateDescriptor("due", Types.BOOLEAN()))
        self._over = runtime_context.get_state(ValueStateDescriptor("over", Types.BOOLEAN()))
        # When something came to it last.
        self._touched = runtime_context.get_state(ValueStateDescriptor("touched", Types.LONG()))
        # When it is looked whether that was long ago.
        self._until = runtime_context.get_state(ValueStateDescriptor("until", Types.LONG()))

    def process_element(self, value: Part, ctx: KeyedProcessFunction.Context) -> None:
        timers = ctx.timer_service()
        now_ms = timers.current_processing_time()
        self._total.add(value)
        if self._of.value() is None:
            self._of.update((value.operator, value.tenant, value.key, value.pane))
            over_ms = self._windows[value.operator].over_ms(value.pane.from_ms)
            if over_ms <= timers.current_watermark():
                self._over.update(True)
            else:
                # The last moment of the pane, so that windows that end then have all of it.
                timers.register_event_time_timer(value.pane.to_ms - 1)
                timers.register_event_time_timer(over_ms)
            self._look(now_ms + self._kept_ms, ctx)
        self._touched.update(now_ms)
        if not self._due.value():
            self._due.update(True)
            timers.register_processing_time_timer(now_ms + self._early_ms)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Firing]:
        of = self._of.value()
        if of is None:
            return
        operator, tenant, key, pane = of
        if self._due.value():
            total = self._total.get()
            yield Firing(operator, tenant, key, pane, total, self._fired.value(), bool(self._over.value()))
            self._fired.update(total)
            self._due.clear()
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            if timestamp >= self._windows[operator].over_ms(pane.from_ms):
                self._over.update(True)
        elif timestamp == self._until.value():
            until_ms = self._touched.value() + self._kept_ms
            if timestamp < until_ms:
                self._look(until_ms, ctx)
                return
            for state in (self._total, self._of, self._fired, self._over, self._touched, self._until):
                state.clear()

    def _look(self, until_ms: int, ctx: KeyedProcessFunction.Context) -> None:
        self._until.update(until_ms)
        ctx.timer_service().register_processing_time_timer(until_ms)
