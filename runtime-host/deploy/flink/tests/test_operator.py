"""Components driven from Python: the numbers of their own tests in Rust."""

import json
from types import SimpleNamespace

import pytest
from wasmtime import wat2wasm

from funnelweb_flink.model import Aggregated, Batch, Count, Event, Heat, Message, Metric, Signal, Span, Taste
from funnelweb_flink.operator import CALLS, INTERFACE, Operator, OperatorError

START = 1_767_225_600_000
MINUTE = 60_000
Operators = dict[str, Operator]


def event(action: str, weight: float = 0.0, at_ms: int = START, watched: float | None = None) -> Event:
    signal = Signal(weight, 600, 300, True, [("category", "c", weight)]) if weight else None
    return Event("e", "feed", "ann", "i", action, at_ms, "b", None, watched, signal)


def add(operator: Operator, key: list[str], pane: Span, events: list[Event]) -> bytes:
    """One by one, as they come."""
    parts = [operator.aggregate([Batch(key, pane, [one])])[0] for one in events]
    total = parts[0]
    for part in parts[1:]:
        total = operator.merge([[total, part]])[0]
    assert total == operator.merge([parts])[0]
    assert total == operator.aggregate([Batch(key, pane, events)])[0]
    return total


def test_declarations(operators: Operators) -> None:
    declared = {name: operator.declaration for name, operator in operators.items()}
    assert declared["hotness"].key == ["scenario", "item"]
    assert declared["profile"].key == ["scenario", "user"]
    assert declared["metrics"].key == ["scenario", "group"]
    hour = declared["hotness"].window
    assert (hour.size_ms, hour.slide_ms) == (60 * MINUTE, 5 * MINUTE)
    assert operators["hotness"].name == "stream-hotness"


def test_hotness(operators: Operators) -> None:
    pane = Span(START, START + 10 * MINUTE)
    events = [
        event("click", 4.0),
        event("impression", at_ms=START + 1),
        event("watch", 2.0, watched=2.5),
        event("dislike", -4.0, START + 2),
    ]
    key, operator = ["feed", "i"], operators["hotness"]
    total = add(operator, key, pane, events)
    # A half-life before the end of the pane.
    assert operator.changes([Aggregated(key, pane, total)]) == [
        [
            Count("i", "click_count", 1.0),
            Count("i", "dislike_count", 1.0),
            Count("i", "impression_count", 1.0),
            Count("i", "watch_count", 1.0),
            Count("i", "watch_duration_sum", 2.5),
            Count("i", "watch_duration_count", 1.0),
            Heat("feed", "i", 600, 3.0, START),
        ]
    ]


def test_profile(operators: Operators) -> None:
    pane, key, operator = Span(START, START + 5 * MINUTE), ["feed", "ann"], operators["profile"]
    total = add(operator, key, pane, [event("view", 1.0)])
    counters = [("active_hour_00", 1.0), ("total_view_count", 1.0), ("total_watch_count", 1.0)]
    expected = Taste("feed", "ann", 300, [("category", "c", 0.5)], counters, START)
    assert operator.changes([Aggregated(key, pane, total)]) == [[expected]]
    [[message]] = operator.summary([Aggregated(key, pane, total)])
    assert (message.topic, message.key) == ("user-profile-updates", "feed/ann")
    assert json.loads(message.body)["preferences"] == {"category": {"c": 0.5}}


def test_metrics(operators: Operators) -> None:
    pane, key, operator = Span(START, START + MINUTE), ["feed", "b"], operators["metrics"]
    total = add(operator, key, pane, [event("impression"), event("impression"), event("click", watched=4.0)])
    labels = [("scenario", "feed"), ("group", "b")]
    assert operator.changes([Aggregated(key, pane, total)]) == [
        [
            Metric("behaviors_total", [*labels, ("action", "click")], 1.0),
            Metric("behaviors_total", [*labels, ("action", "impression")], 2.0),
            Metric("watches_total", labels, 1.0),
            Metric("watch_seconds_total", labels, 4.0),
        ]
    ]
    [[message]] = operator.summary([Aggregated(key, pane, total)])
    assert isinstance(message, Message) and json.loads(message.body)["ctr"] == 0.5


def test_nothing_is_asked_of_nothing(operators: Operators) -> None:
    assert [operators["metrics"].aggregate([]), operators["metrics"].summary([])] == [[], []]


def test_what_is_no_accumulator_is_refused_and_the_next_call_is_answered(operators: Operators) -> None:
    operator = operators["hotness"]
    with pytest.raises(OperatorError, match="^accumulator"):
        operator.merge([[b"\xff\xff\xff"]])
    assert operator.merge([[]]) == [operator.merge([[], []])[0]]


def test_what_is_no_operator_is_refused() -> None:
    # An empty component.
    with pytest.raises(OperatorError, match="does not export declare"):
        Operator("none", b"\0asm\x0d\0\x01\0")


def test_an_operator_that_loops_or_grows_fails() -> None:
    for code, reason in [
        ("(loop $forever (br $forever))", "fuel"),
        ("(if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then unreachable))", "unreachable"),
    ]:
        with pytest.raises(OperatorError, match=reason):
            Operator("hostile", component(code))


def component(code: str) -> bytes:
    """With the functions that it takes, each of which does that."""
    exports = "".join(f'(export "{call}" (func $does))' for call in CALLS)
    text = f"""
        (component
          (core module $inner (memory 1) (func (export "does") {code}))
          (core instance $inside (instantiate $inner))
          (func $does (canon lift (core func $inside "does")))
          (instance $aggregate {exports})
          (export "{INTERFACE}" (instance $aggregate)))"""
    return bytes(wat2wasm(text))


def test_nothing_is_left_of_a_call(operators: Operators) -> None:
    operator, key = operators["metrics"], ["feed", "b"]
    pane = Span(START, START + MINUTE)
    whole = operator.aggregate([Batch(key, pane, [event("click")])])
    with pytest.raises(OperatorError, match="^accumulator"):
        operator.merge([[b"\xff\xff\xff"]])
    assert operator.aggregate([Batch(key, pane, [event("click")])]) == whole


def test_reasons_have_an_end() -> None:
    assert str(OperatorError("a\n" * 1000)) == ("a " * 100)


@pytest.mark.parametrize(
    "message",
    [
        {"topic": "user-behaviors-acme", "key": "k", "body": "{}"},
        {"topic": "item-stats-updates", "key": "k" * 16_384, "body": "{}"},
        {"topic": "item-stats-updates", "key": "k", "body": "[]"},
        {"topic": "item-stats-updates", "key": "k", "body": '{"a": NaN}'},
        {"topic": "item-stats-updates", "key": "k", "body": "{"},
    ],
)
def test_messages_are_checked(message: dict[str, str], monkeypatch: pytest.MonkeyPatch, operators: Operators) -> None:
    operator = operators["metrics"]
    monkeypatch.setattr(operator, "_call", lambda *_: [[SimpleNamespace(**message)]])
    with pytest.raises(OperatorError, match="message"):
        operator.summary([Aggregated(["feed", "b"], Span(START, START + MINUTE), b"")])
