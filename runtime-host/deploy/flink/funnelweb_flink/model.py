"""What operators take and give: the types of `wit/stream/aggregate.wit`, under the same names."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Signal:
    weight: float
    hot_half_life_s: int
    profile_half_life_s: int
    known: bool
    preferences: list[tuple[str, str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    event_id: str
    scenario_id: str
    user_id: str
    item_id: str
    action_type: str
    timestamp_ms: int
    group: str = ""
    completion_rate: float | None = None
    watch_duration: float | None = None
    signal: Signal | None = None


@dataclass(frozen=True, slots=True)
class Window:
    size_ms: int
    slide_ms: int


@dataclass(frozen=True, slots=True)
class Declaration:
    key: list[str]
    window: Window
    allowed_lateness_ms: int


@dataclass(frozen=True, slots=True)
class Span:
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Batch:
    key: list[str]
    pane: Span
    events: list[Event]


@dataclass(frozen=True, slots=True)
class Aggregated:
    key: list[str]
    span: Span
    accumulator: bytes


@dataclass(frozen=True, slots=True)
class Heat:
    scenario_id: str
    item_id: str
    half_life_s: int
    weight: float
    last_ms: int


@dataclass(frozen=True, slots=True)
class Count:
    item_id: str
    field: str
    amount: float


@dataclass(frozen=True, slots=True)
class Taste:
    scenario_id: str
    user_id: str
    half_life_s: int
    preferences: list[tuple[str, str, float]]
    counters: list[tuple[str, float]]
    last_ms: int


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    labels: list[tuple[str, str]]
    amount: float


Change = Heat | Count | Taste | Metric


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    key: str
    body: str
