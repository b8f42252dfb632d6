"""Panes, as Flink's aggregate function makes them."""

from dataclasses import replace

import pytest

from funnelweb_flink.firing import Part
from funnelweb_flink.model import Batch, Event, Span
from funnelweb_flink.operator import Operator, OperatorError
from funnelweb_flink.panes import Merge, Pane
from funnelweb_flink.record import Origin

START = 1_767_225_600_000
SPAN = Span(START, START + 60_000)
SERIES = 'funnelweb_behaviors_total{action="click",scenario="feed"}'


def part(operator: Operator, watched: float | None = None) -> Part:
    event = Event("e", "feed", "ann", "i", "click", START, watch_duration=watched)
    [accumulator] = operator.aggregate([Batch(["feed", ""], SPAN, [event])])
    return Part(operator.name, "acme", ["feed", ""], SPAN, accumulator, Origin("t", 0, 7), "e")


def clicks(pane: Pane | None) -> float:
    assert pane is not None
    return pane.sums.metrics[SERIES]


def test_a_pane_is_the_sum_of_its_parts(operators: dict[str, Operator]) -> None:
    merge, one = Merge({"stream-metrics": operators["metrics"]}), part(operators["metrics"])
    first = merge.add(one, merge.create_accumulator())
    second = merge.add(one, first)
    assert [clicks(pane) for pane in (first, second, merge.merge(first, second))] == [1.0, 2.0, 3.0]
    assert merge.merge(first, None) == first == merge.merge(None, first)


def test_what_an_operator_fails_with_is_not_added(operators: dict[str, Operator]) -> None:
    merge, one = Merge({"stream-metrics": operators["metrics"]}), part(operators["metrics"])
    pane = merge.add(one, None)
    with pytest.raises(OperatorError, match="accumulator"):
        merge.add(replace(one, accumulator=b"\xff\xff\xff"), pane)
    with pytest.raises(OperatorError, match="amount must be"):
        merge.add(part(operators["metrics"], watched=1e16), pane)
    assert clicks(merge.add(one, pane)) == 2.0
