"""What panes add, which windows they are in, and settings."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from funnelweb_flink.model import Aggregated, Batch, Change, Count, Event, Heat, Metric, Signal, Span, Taste
from funnelweb_flink.operator import Operator, OperatorError
from funnelweb_flink.settings import Settings
from funnelweb_flink.totals import Sums, Totals, series, totals
from funnelweb_flink.window import Windows

START = 1_767_225_600_000
SPAN = Span(START, START + 300_000)


def likes(count: int) -> list[Event]:
    signal = Signal(2.0, 300, 300, True, [("category", "c", 2.0)])
    return [Event("e", "feed", "ann", "i", "like", START, signal=signal)] * count


def test_a_pane_adds_what_it_has_and_had(operators: dict[str, Operator]) -> None:
    def added(operator: Operator, key: list[str]) -> Totals:
        panes = [operator.aggregate([Batch(key, SPAN, likes(count))])[0] for count in (1, 3)]
        said = operator.changes([Aggregated(key, SPAN, pane) for pane in panes])
        before, now = (Sums.of(changes, SPAN) for changes in said)
        return totals(now, before)

    added_heat = added(operators["hotness"], ["feed", "i"])
    [heat] = added_heat.heat
    assert (heat.weight, heat.before, heat.last_ms) == (pytest.approx(3.0), pytest.approx(1.0), START)
    assert added_heat.counts == {"i": {"like_count": (3.0, 1.0)}}
    [taste] = added(operators["profile"], ["feed", "ann"]).tastes
    assert taste.preferences == {("category", "c"): pytest.approx(3.0)} and taste.before
    assert (taste.counters["total_like_count"], taste.before.counters["total_like_count"]) == (3.0, 1.0)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (Heat("feed", "i", 300, 1.0, START - 1), "is not in the pane"),
        (Heat("feed", "i", 300, 1.0, START + 300_000), "is not in the pane"),
        (Heat("feed", "i", 0, 1.0, START), "half-life-s"),
        (Heat("fe/ed", "i", 300, 1.0, START), "no id is 'fe/ed'"),
        (Heat("feed", "", 300, 1.0, START), "no id is ''"),
        (Heat("feed", "i", 300, float("nan"), START), "amounts must be"),
        (Count("i", "", 1.0), "names must be"),
        (Count("i", "n", 2e12), "amounts must be"),
        (Count("i{", "n", 1.0), "no id is"),
        (Taste("feed", "ann", 300, [("f" * 257, "v", 1.0)], [], START), "names must be"),
        (Taste("feed", "ann", 300, [("f", f"v{at}", 1.0) for at in range(513)], [], START), "at most 512"),
        (Taste("feed", "ann", 300, [], [("n", float("inf"))], START), "amounts must be"),
        (Taste("feed", "a b", 300, [], [("n", 1.0)], START), "no id is"),
        (Metric("a_total", [], -1.0), "a metric's amount"),
        (Metric("a", [], 1.0), "no counter of a tenant"),
        (Metric("stream_a_total", [], 1.0), "no counter of a tenant"),
        (Metric("a_total", [("tenant", "other")], 1.0), "such labels"),
        (Metric("a_total", [("a", "x"), ("a", "y")], 1.0), "such labels"),
        (Metric("a_total", [("a", "x" * 129)], 1.0), "such labels"),
    ],
)
def test_what_an_operator_may_not_say_is_refused(change: Change, rule: str) -> None:
    with pytest.raises(OperatorError, match=f"^changes: .*{rule}"):
        Sums.of([change], SPAN)


def test_counters_have_the_names_that_prometheus_has() -> None:
    labels = [("scenario", 'a"b\\'), ("group", ""), ("action", "x")]
    assert series(Metric("a_total", labels, 1.0)) == r'funnelweb_a_total{action="x",scenario="a\"b\\"}'
    assert series(Metric("a_total", [], 1.0)) == "funnelweb_a_total"


def test_a_pane_is_in_the_windows_that_hold_its_times() -> None:
    chance = random.Random(1)
    for _ in range(200):
        slide, slides, late = chance.randrange(1000, 1050), chance.randrange(1, 20), chance.randrange(99)
        windows, at_ms = Windows(slides * slide, slide, late), chance.randrange(10**6, 10**7)
        pane = windows.pane(at_ms)
        assert pane.from_ms <= at_ms < pane.to_ms and pane.from_ms % slide == 0
        ends = windows.ends(pane.from_ms)
        assert len(ends) == slides
        assert all(pane.from_ms in windows.panes(end) and windows.window(end).to_ms > at_ms for end in ends)
        over_ms = windows.over_ms(pane.from_ms)
        assert windows.has_closed(ends[-1], over_ms) and not windows.has_closed(ends[-1], over_ms - 1)


def test_settings_are_read_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "job.toml"
    text = """
        operators = ["a.wasm"]
        bootstrap_servers = "k:9092"
        redis_url = { env = "REDIS" }
        mongodb_url = "mongodb://m"
        kafka = { "security.protocol" = "SSL" }
    """
    monkeypatch.setenv("REDIS", "redis://r")
    file.write_text(text)
    settings = Settings.read(str(file))
    assert (settings.redis_url, settings.kafka) == ("redis://r", {"security.protocol": "SSL"})
    for wrong, reason in [
        ("bundle = 1", "no such setting"),
        ("bundle_ms = 0", "bundle_ms"),
        ('start = "now"', "start"),
    ]:
        file.write_text(text + wrong)
        with pytest.raises(ValueError, match=reason):
            Settings.read(str(file))
    with pytest.raises(ValueError, match="same name"):
        replace(settings, operators=["a.wasm", "b/a.wasm"])
