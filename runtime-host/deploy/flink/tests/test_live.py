"""What panes add to Redis: once, whatever is told how often."""

import itertools

import pytest
import redis

from funnelweb_flink import live
from funnelweb_flink.firing import Firing
from funnelweb_flink.live import Live
from funnelweb_flink.model import Span
from funnelweb_flink.totals import HeatTotal, Sums, Totals

START = 1_767_225_600_000
SLIDE = 300_000
HALF_LIFE_S = 600
_tenants = itertools.count()


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, decode_responses=True)


def firing(tenant: str, pane: int = 0) -> Firing:
    span = Span(START + pane * SLIDE, START + (pane + 1) * SLIDE)
    return Firing("stream-hotness", tenant, ["feed", "i"], span, b"", Sums(), None)


def tenant() -> str:
    return f"t:{next(_tenants)}"


def heat(weight: float, before: float = 0.0, pane: int = 0, half_life_s: int = HALF_LIFE_S) -> Totals:
    last_ms = START + pane * SLIDE + 1000
    return Totals(heat=[HeatTotal("feed", "i", half_life_s, last_ms, weight, before)])


def score(client: redis.Redis, tenant: str, at_ms: int) -> float:
    """As readers have it."""
    key = f"hot:items:{tenant.replace(':', '%3A')}:feed"
    decay = client.hgetall(f"{{{key}}}:decay")
    age_s = (at_ms - int(decay["landmark_ms"])) / 1000
    return float(client.zscore(key, "i") * 2.0 ** (-age_s / int(decay["half_life_s"])))


def test_heat_is_what_panes_have_whatever_fires_how_often(client: redis.Redis) -> None:
    t, store = tenant(), Live(client, "", 60)
    end = START + SLIDE
    for weight in (1.0, 1.0, 3.0, 3.0):
        store.apply(firing(t), heat(weight))
        assert score(client, t, end) == pytest.approx(weight)
    # After a failure it begins with less, and comes to the same.
    store.apply(firing(t), heat(2.0))
    store.apply(firing(t), heat(3.0))
    assert score(client, t, end) == pytest.approx(3.0)
    # A half-life later what is new counts twice as much as what was there.
    store.apply(firing(t, 1), heat(1.0, pane=1))
    store.apply(firing(t, 2), heat(0.5, pane=2))
    assert score(client, t, end + 2 * SLIDE) == pytest.approx(3.0 / 2 + 0.5**0.5 + 0.5)


def test_what_is_forgotten_is_as_the_job_remembers_it(client: redis.Redis) -> None:
    t, store = tenant(), Live(client, "", 60)
    store.apply(firing(t), heat(3.0))
    [memory] = client.keys(f"*{t.replace(':', '%3A')}*pane*")
    assert 0 < client.ttl(memory) <= 60
    client.delete(memory)
    store.apply(firing(t), heat(4.0, before=3.0))
    assert score(client, t, START + SLIDE) == pytest.approx(4.0)
    # And what is remembered counts more than that.
    store.apply(firing(t), heat(5.0, before=1.0))
    assert score(client, t, START + SLIDE) == pytest.approx(5.0)


def test_readers_follow(client: redis.Redis) -> None:
    t, store = tenant(), Live(client, "", 60)
    key = f"{{hot:items:{t.replace(':', '%3A')}:feed}}"
    revisions, epochs = [], set()
    for weight in (1.0, 2.0, 2.0):
        store.apply(firing(t), heat(weight))
        decay = client.hgetall(f"{key}:decay")
        revisions.append(int(decay["revision"]))
        epochs.add(decay["epoch"])
    # Nothing changed the third time.
    assert (revisions, len(epochs)) == ([1, 2, 2], 1)
    assert client.zscore(f"{key}:changes", "i") == 2.0
    # Another half-life changes all scores.
    store.apply(firing(t, 1), heat(1.0, pane=1, half_life_s=60))
    decay = client.hgetall(f"{key}:decay")
    assert decay["epoch"] not in epochs and decay["half_life_s"] == "60"
    assert int(decay["newest_ms"]) == START + SLIDE + 1000
    # What is older than that takes the half-life as it is.
    end = START + 2 * SLIDE
    before = score(client, t, end)
    store.apply(firing(t), heat(3.0))
    assert client.hgetall(f"{key}:decay")["epoch"] == decay["epoch"]
    assert score(client, t, end) - before == pytest.approx(0.5 ** (SLIDE / 60_000))


def test_a_list_has_an_end(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HOT_MEMBERS", 4)
    monkeypatch.setattr(live, "HOT_MEMBERS_HIGH", 6)
    t, store = tenant(), Live(client, "", 60)
    totals = [HeatTotal("feed", f"i{at}", HALF_LIFE_S, START, float(at + 1), 0.0) for at in range(7)]
    store.apply(firing(t), Totals(heat=totals))
    assert client.zrange(f"hot:items:{t.replace(':', '%3A')}:feed", 0, -1) == ["i3", "i4", "i5", "i6"]


def test_counters(client: redis.Redis) -> None:
    t, store = tenant(), Live(client, "p:", 60)
    counts = {"i:1": {"click_count": (2.0, 0.0), "watch_duration_sum": (2.5, 0.0)}}
    for one in (firing(t), firing(t), firing(t, 1), firing(t, 1), firing(t, 2), firing(t)):
        store.apply(one, Totals(counts=counts, metrics={"funnelweb_a_total": (1.0, 0.0)}))
    key = t.replace(":", "%3A")
    assert client.hgetall(f"p:item:stats:{key}:i:1") == {"click_count": "6", "watch_duration_sum": "7.5"}
    assert client.hgetall(f"p:stream:counters:{key}") == {"funnelweb_a_total": "3"}
    # One that is no number stays, and the others change.
    client.hset(f"p:item:stats:{key}:i:1", "click_count", "many")
    store.apply(firing(t, 3), Totals(counts=counts))
    assert client.hgetall(f"p:item:stats:{key}:i:1") == {"click_count": "many", "watch_duration_sum": "10"}
