"""What a pane adds, by what it is added to: how much so far, and how much when it fired before."""

import math
from collections import defaultdict
from dataclasses import dataclass, field

from .firing import Firing
from .model import Aggregated, Change, Count, Heat, Metric, Taste
from .operator import Operator, OperatorError

# Of a name: so far, before.
Amounts = dict[str, tuple[float, float]]
AMOUNT = 1e15


@dataclass(slots=True)
class HeatTotal:
    """Weights of an item as of the end of the pane."""

    scenario_id: str
    item_id: str
    half_life_s: int
    last_ms: int
    weight: float
    before: float


@dataclass(slots=True)
class TasteTotal:
    """What a user's profile gets, as of the end of the pane; nothing when it fired before: none."""

    scenario_id: str
    user_id: str
    half_life_s: int
    last_ms: int
    preferences: dict[tuple[str, str], float]
    counters: dict[str, float]
    before: "TasteTotal | None" = None


@dataclass(slots=True)
class Totals:
    heat: list[HeatTotal] = field(default_factory=list)
    # By item.
    counts: dict[str, Amounts] = field(default_factory=dict)
    metrics: Amounts = field(default_factory=dict)
    tastes: list[TasteTotal] = field(default_factory=list)


def totals(operator: Operator, firing: Firing) -> Totals:
    """Asks the operator what it adds."""
    panes = [firing.total] + ([] if firing.before is None else [firing.before])
    said = operator.changes([Aggregated(firing.key, firing.pane, accumulator) for accumulator in panes])
    now, before = _Sums(said[0]), _Sums(said[1] if len(said) > 1 else [])
    heat = []
    for (scenario, item, half_life_s), (weight, last_ms) in now.heat.items():
        _in_pane(firing, last_ms)
        earlier = before.heat.get((scenario, item, half_life_s), (0.0, 0))[0]
        heat.append(HeatTotal(scenario, item, half_life_s, last_ms, weight, earlier))
    for place, taste in now.tastes.items():
        _in_pane(firing, taste.last_ms)
        taste.before = before.tastes.get(place)
    counts = {item: _amounts(fields, before.counts.get(item, {})) for item, fields in now.counts.items()}
    return Totals(heat, counts, _amounts(now.metrics, before.metrics), list(now.tastes.values()))


class _Sums:
    def __init__(self, changes: list[Change]) -> None:
        self.heat: dict[tuple[str, str, int], tuple[float, int]] = {}
        self.counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.metrics: dict[str, float] = defaultdict(float)
        self.tastes: dict[tuple[str, str, int], TasteTotal] = {}
        for change in changes:
            match change:
                case Heat():
                    place = (change.scenario_id, change.item_id, change.half_life_s)
                    weight, last_ms = self.heat.get(place, (0.0, 0))
                    self.heat[place] = (_finite(weight + change.weight), max(last_ms, change.last_ms))
                case Count():
                    self.counts[change.item_id][change.field] += _finite(change.amount)
                case Metric():
                    self.metrics[series(change)] += _finite(change.amount)
                case Taste():
                    self._learn(change)

    def _learn(self, taste: Taste) -> None:
        place = (taste.scenario_id, taste.user_id, taste.half_life_s)
        new = TasteTotal(*place, taste.last_ms, {}, {})
        total = self.tastes.setdefault(place, new)
        total.last_ms = max(total.last_ms, taste.last_ms)
        for name, value, amount in taste.preferences:
            total.preferences[name, value] = total.preferences.get((name, value), 0.0) + _finite(amount)
        for name, amount in taste.counters:
            total.counters[name] = total.counters.get(name, 0.0) + _finite(amount)


def series(metric: Metric) -> str:
    """A counter as Prometheus writes it, without the tenant. An empty label is none to its readers."""
    labels = sorted((name, value) for name, value in metric.labels if value)
    escaped = [(name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in labels]
    inner = ",".join(f'{name}="{value}"' for name, value in escaped)
    return f"funnelweb_{metric.name}{{{inner}}}" if inner else f"funnelweb_{metric.name}"


def _amounts(now: dict[str, float], before: dict[str, float]) -> Amounts:
    return {name: (amount, before.get(name, 0.0)) for name, amount in now.items()}


def _finite(amount: float) -> float:
    if not math.isfinite(amount) or abs(amount) > AMOUNT:
        raise OperatorError(f"changes: amounts must be within ±{AMOUNT}, got {amount}")
    return amount


def _in_pane(firing: Firing, last_ms: int) -> None:
    # Or a score would be of another time than its event.
    if not firing.pane.from_ms <= last_ms < firing.pane.to_ms:
        raise OperatorError(f"changes: last-ms {last_ms} is not in the pane")
