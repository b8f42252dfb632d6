"""What a pane adds, by what it is added to: how much so far, and how much when it fired before."""

import re
from dataclasses import dataclass, field
from typing import Any

from .decay import factor
from .model import Change, Count, Heat, Metric, Span, Taste
from .operator import OperatorError
from .record import TERM_BYTES, is_id

# Those of `components/core/src/limits.rs` and `runtime-host/factor-events/src/check.rs`.
AMOUNT = 1e12
PREFERENCES = 512
METRIC_AMOUNT = 1e15
METRIC_LABELS = 8
LABEL_BYTES = 128

# Counters that begin so are the host's; so are labels that begin with `__`.
_METRIC = re.compile(r"(?!http_|metric_|stage_|stream_)(?![a-z_]*_total_total$)[a-z_]{1,58}_total")
_LABEL = re.compile(r"(?!tenant$|__)[a-z_]{1,64}")

# Of a name: so far, before.
Amounts = dict[str, tuple[float, float]]


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


@dataclass(slots=True)
class Sums:
    """What an operator says that a pane adds, checked as the embedded engine does."""

    # Weight and time of the last event, by scenario, item and half-life.
    heat: dict[tuple[str, str, int], tuple[float, int]] = field(default_factory=dict)
    # By item and field.
    counts: dict[str, dict[str, float]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    # By scenario, user and half-life.
    tastes: dict[tuple[str, str, int], TasteTotal] = field(default_factory=dict)

    @classmethod
    def of(cls, changes: list[Change], pane: Span) -> "Sums":
        sums = cls()
        for change in changes:
            match change:
                case Heat():
                    place = (change.scenario_id, change.item_id, change.half_life_s)
                    weight, last_ms = sums.heat.get(place, (0.0, 0))
                    sums.heat[place] = (weight + change.weight, max(last_ms, change.last_ms))
                case Count():
                    _add(sums.counts.setdefault(change.item_id, {}), change.field, change.amount)
                case Metric():
                    _add(sums.metrics, series(change), change.amount)
                case Taste():
                    sums._learn(change)
        sums._check(pane)
        return sums

    def _learn(self, taste: Taste) -> None:
        place = (taste.scenario_id, taste.user_id, taste.half_life_s)
        total = self.tastes.setdefault(place, TasteTotal(*place, taste.last_ms, {}, {}))
        total.last_ms = max(total.last_ms, taste.last_ms)
        for name, value, amount in taste.preferences:
            _add(total.preferences, (name, value), amount)
        for name, amount in taste.counters:
            _add(total.counters, name, amount)

    def _check(self, pane: Span) -> None:
        for (scenario, item, half_life_s), (weight, last_ms) in self.heat.items():
            _check_place((scenario, item), half_life_s, last_ms, pane)
            _check_amount(weight * factor(pane.to_ms, last_ms, half_life_s))
        for item, fields in self.counts.items():
            _check_id(item)
            for name, amount in fields.items():
                _check_name(name)
                _check_amount(amount)
        for amount in self.metrics.values():
            _hold(0.0 <= amount <= METRIC_AMOUNT, f"a metric's amount must be 0 to {METRIC_AMOUNT}, got {amount}")
        for (scenario, user, half_life_s), taste in self.tastes.items():
            _check_place((scenario, user), half_life_s, taste.last_ms, pane)
            most = max(len(taste.preferences), len(taste.counters))
            _hold(most <= PREFERENCES, f"at most {PREFERENCES} preferences and counters of a user, got {most}")
            aged = factor(pane.to_ms, taste.last_ms, half_life_s)
            for names, amount in taste.preferences.items():
                for name in names:
                    _check_name(name)
                _check_amount(amount * aged)
            for name, amount in taste.counters.items():
                _check_name(name)
                _check_amount(amount)


def totals(now: Sums, before: Sums | None) -> Totals:
    before = before or Sums()
    heat = [
        HeatTotal(*place, last_ms, weight, before.heat.get(place, (0.0, 0))[0])
        for place, (weight, last_ms) in now.heat.items()
    ]
    counts = {item: _amounts(fields, before.counts.get(item, {})) for item, fields in now.counts.items()}
    tastes = []
    for place, taste in now.tastes.items():
        taste.before = before.tastes.get(place)
        tastes.append(taste)
    return Totals(heat, counts, _amounts(now.metrics, before.metrics), tastes)


def series(metric: Metric) -> str:
    """A counter as Prometheus writes it, without the tenant. An empty label is none to its readers."""
    labels = sorted((name, value) for name, value in metric.labels if value)
    _hold(_METRIC.fullmatch(metric.name), f"no counter of a tenant is {metric.name!r}")
    fit = all(_LABEL.fullmatch(name) and len(value.encode()) <= LABEL_BYTES for name, value in labels)
    different = len(dict(labels)) == len(labels)
    _hold(fit and different and len(metric.labels) <= METRIC_LABELS, f"{metric.name} cannot have such labels")
    escaped = [(name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in labels]
    inner = ",".join(f'{name}="{value}"' for name, value in escaped)
    return f"funnelweb_{metric.name}{{{inner}}}" if inner else f"funnelweb_{metric.name}"


def _amounts(now: dict[str, float], before: dict[str, float]) -> Amounts:
    return {name: (amount, before.get(name, 0.0)) for name, amount in now.items()}


def _add(amounts: dict[Any, float], name: Any, amount: float) -> None:
    amounts[name] = amounts.get(name, 0.0) + amount


def _hold(holds: object, rule: str) -> None:
    if not holds:
        raise OperatorError(f"changes: {rule}")


def _check_place(ids: tuple[str, str], half_life_s: int, last_ms: int, pane: Span) -> None:
    for id_ in ids:
        _check_id(id_)
    _hold(half_life_s >= 1, "half-life-s must be at least 1")
    # Or a score would be of another time than its event.
    _hold(pane.from_ms <= last_ms < pane.to_ms, f"last-ms {last_ms} is not in the pane")


def _check_id(text: str) -> None:
    _hold(is_id(text), f"no id is {text!r}")


def _check_name(text: str) -> None:
    _hold(1 <= len(text.encode()) <= TERM_BYTES, f"names must be 1 to {TERM_BYTES} bytes")


def _check_amount(amount: float) -> None:
    # False for NaN too.
    _hold(abs(amount) <= AMOUNT, f"amounts must be within ±{AMOUNT}, got {amount}")
