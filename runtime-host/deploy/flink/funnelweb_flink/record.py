"""A behaviour as a record of `user-behaviors-{tenant}`: see `runtime-host/log-kafka/README.md`."""

import re
from dataclasses import dataclass
from typing import Any

from .model import Event, Signal
from .strict import parse

# Those of `components/core/src/limits.rs`.
EVENTS = 1000
ACTION_TYPE_BYTES = 64
TERM_BYTES = 256
EVENT_FUTURE_MS = 24 * 3600 * 1000
SIGNAL_PREFERENCES = 128
AMOUNT = 1e12
REASON_CHARACTERS = 200

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_BATCH = re.compile(r"[0-9a-f]{32}")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something is from. A window is from a topic, of no single record."""

    topic: str
    partition: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Behavior:
    """An event, and where it is: batch and index together are one event's alone."""

    tenant: str
    origin: Origin
    batch: str
    index: int
    event: Event


class Unreadable(Exception):
    """Why a record is not a behaviour."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason[:REASON_CHARACTERS])


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None and text not in (".", "..")


def decode(tenant: str, origin: Origin, value: bytes, now_ms: int) -> Behavior:
    """Reads a record of the tenant's topic; fields that are not known are passed over."""
    try:
        record = parse(value)
    except ValueError as error:
        raise Unreadable(f"JSON: {error}") from error
    if not isinstance(record, dict):
        raise Unreadable("must be a JSON object")
    if _get(record, "tenant_id", str) != tenant:
        raise Unreadable("tenant_id: is not the topic's")
    batch, index = _get(record, "batch", str), _number(record, "index")
    if not _BATCH.fullmatch(batch):
        raise Unreadable("batch: must be 32 hexadecimal digits")
    if index >= EVENTS:
        raise Unreadable(f"index: must be below {EVENTS}, got {index}")
    body = _get(record, "body", dict)
    action = _get(record, "action_type", str)
    if not 1 <= _size(action) <= ACTION_TYPE_BYTES:
        raise Unreadable(f"action_type: must be 1 to {ACTION_TYPE_BYTES} bytes")
    timestamp_ms = _number(record, "timestamp_ms")
    if timestamp_ms > now_ms + EVENT_FUTURE_MS:
        raise Unreadable(f"timestamp_ms: lies more than {EVENT_FUTURE_MS} ms in the future")
    group, completion_rate, watch_duration = _details(body)
    signal = record.get("signal")
    event = Event(
        event_id=_id(record, "event_id"),
        scenario_id=_id(record, "scenario_id"),
        user_id=_id(record, "user_id"),
        item_id=_id(record, "item_id"),
        action_type=action,
        timestamp_ms=timestamp_ms,
        group=group,
        completion_rate=completion_rate,
        watch_duration=watch_duration,
        signal=None if signal is None else _signal(signal),
    )
    return Behavior(tenant, origin, batch, index, event)


def _get(record: dict[str, Any], name: str, of: type) -> Any:
    value = record.get(name, _MISSING)
    if value is _MISSING:
        raise Unreadable(f"missing field `{name}`")
    if not isinstance(value, of):
        raise Unreadable(f"{name}: must be a {of.__name__}, got {value!r}")
    return value


def _number(record: dict[str, Any], name: str, most: int = 2**63 - 1) -> int:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Unreadable(f"{name}: must be a whole number from 0, got {value!r}")
    return value


def _size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise Unreadable("a text holds half a character") from error


def _id(record: dict[str, Any], name: str) -> str:
    value: str = _get(record, name, str)
    if not is_id(value):
        raise Unreadable(f"{name}: may hold letters, digits and `_ . : -` only, got {value!r}")
    return value


def _details(body: dict[str, Any]) -> tuple[str, float | None, float | None]:
    """What is aggregated of an event's body, as far as it is there and of its type."""
    context, extra = body.get("context", {}), body.get("extra", {})
    if not isinstance(context, dict) or not isinstance(extra, dict):
        return "", None, None
    group = context.get("experiment_group")
    group = group if isinstance(group, str) and is_id(group) else ""
    return group, _float(extra.get("completion_rate")), _float(extra.get("watch_duration"))


def _float(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _signal(signal: Any) -> Signal:
    if not isinstance(signal, dict):
        raise Unreadable("signal: must be an object")
    known = _get(signal, "known", bool)
    preferences = [_preference(one) for one in _get({"preferences": [], **signal}, "preferences", list)]
    if len(preferences) > SIGNAL_PREFERENCES:
        raise Unreadable(f"signal: preferences: at most {SIGNAL_PREFERENCES}, got {len(preferences)}")
    halves = [_number(signal, name, 2**32 - 1) for name in ("hot_half_life_s", "profile_half_life_s")]
    if min(halves) < 1:
        raise Unreadable("signal: half-lives must be at least 1")
    return Signal(_amount(signal.get("weight")), halves[0], halves[1], known, preferences)


def _preference(one: Any) -> tuple[str, str, float]:
    if not (isinstance(one, list) and len(one) == 3 and all(isinstance(name, str) for name in one[:2])):
        raise Unreadable("signal: a preference must be a field, a value, and a number")
    if not all(1 <= _size(name) <= TERM_BYTES for name in one[:2]):
        raise Unreadable(f"signal: names of preferences must be 1 to {TERM_BYTES} bytes")
    return one[0], one[1], _amount(one[2])


def _amount(value: Any) -> float:
    number = _float(value)
    # False for NaN too.
    if number is None or not abs(number) <= AMOUNT:
        raise Unreadable(f"signal: amounts must be numbers within ±{AMOUNT}, got {value!r}")
    return number
