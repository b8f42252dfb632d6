"""What panes make of profiles in MongoDB."""

import itertools
from typing import Any

import pymongo
import pytest
from pymongo.database import Database

from funnelweb_flink.firing import Firing
from funnelweb_flink.model import Span
from funnelweb_flink.profiles import Profiles, escape, format_ms, unescape
from funnelweb_flink.totals import Sums, TasteTotal

START = 1_767_225_600_000
SLIDE = 300_000
Documents = Database[dict[str, Any]]
_users = itertools.count()


@pytest.fixture(scope="module")
def database(mongodb_url: str) -> Documents:
    return pymongo.MongoClient(mongodb_url, tz_aware=True)["funnelweb"]


def firing(user: str, pane: int = 0) -> Firing:
    span = Span(START + pane * SLIDE, START + (pane + 1) * SLIDE)
    return Firing("stream-profile", "acme", ["feed", user], span, b"", Sums(), None)


def taste(
    user: str, scores: dict[str, float], pane: int = 0, before: TasteTotal | None = None, seen: float = 1.0
) -> TasteTotal:
    preferences = {("category", name): score for name, score in scores.items()}
    last_ms = START + (pane + 1) * SLIDE - 1
    return TasteTotal("feed", user, 300, last_ms, preferences, {"total_view_count": seen}, before)


def user() -> str:
    return f"u{next(_users)}"


def read(database: Documents, user: str) -> dict[str, Any]:
    return database["user_profiles"].find_one({"user_id": user}) or {}


def scores(database: Documents, user: str) -> dict[str, float]:
    found: dict[str, float] = read(database, user)["preferences"]["category_scores"]
    return found


def test_a_profile_is_what_panes_have_whatever_fires_how_often(database: Documents) -> None:
    u, store = user(), Profiles(database, 60)
    first = taste(u, {"sci.fi": 1.0})
    assert [store.apply(firing(u), first) for _ in range(3)] == [True, False, False]
    found = read(database, u)
    assert found["features"] == {
        "total_view_count": 1,
        "favorite_categories": ["sci.fi"],
        "last_active_at": "2026-01-01T00:04:59.999Z",
    }
    assert (found["tenant_id"], found["preferences_at_ms"], found["_fw"]["version"]) == ("acme", START + SLIDE - 1, 1)
    assert scores(database, u) == {escape("sci.fi"): pytest.approx(1.0, rel=1e-5)}
    assert store.apply(firing(u), taste(u, {"sci.fi": 3.0, "$": -1.0}, seen=4.0))
    assert scores(database, u) == {
        escape("sci.fi"): pytest.approx(3.0, rel=1e-5),
        escape("$"): pytest.approx(-1.0, rel=1e-5),
    }
    # A half-life later.
    assert store.apply(firing(u, 1), taste(u, {"sci.fi": 1.0}, pane=1))
    assert scores(database, u)[escape("sci.fi")] == pytest.approx(2.5, rel=1e-5)
    assert read(database, u)["features"]["total_view_count"] == 5
    # What is older than the profile is aged to its time.
    assert store.apply(firing(u), taste(u, {"sci.fi": 4.0, "$": -1.0}, seen=5.0))
    assert scores(database, u)[escape("sci.fi")] == pytest.approx(3.0, rel=1e-5)
    assert read(database, u)["_fw"]["version"] == 4


def test_what_is_forgotten_is_as_the_job_remembers_it(database: Documents) -> None:
    u, store = user(), Profiles(database, 60)
    first = taste(u, {"a": 1.0})
    store.apply(firing(u), first)
    # As a host does that does not know it.
    database["user_profiles"].update_one({"user_id": u}, {"$unset": {"_fw.panes": ""}})
    store.apply(firing(u), taste(u, {"a": 3.0}, before=first, seen=2.0))
    assert scores(database, u) == {"a": pytest.approx(3.0, rel=1e-5)}
    assert read(database, u)["features"]["total_view_count"] == 2


def test_a_pane_that_the_job_has_forgotten_begins_anew(database: Documents) -> None:
    u, store = user(), Profiles(database, 60)
    store.apply(firing(u), taste(u, {"a": 1.0}, seen=5.0))
    database["user_profiles"].update_one({"user_id": u}, {"$set": {"_fw.panes.0.at_s": 7}})
    store.apply(firing(u), taste(u, {"a": 1.0}))
    assert read(database, u)["features"]["total_view_count"] == 6
    for pane in range(20):
        store.apply(firing(u, pane), taste(u, {"a": 1.0}, pane=pane))
    assert len(read(database, u)["_fw"]["panes"]) == 16


def test_what_others_wrote_stays(database: Documents) -> None:
    u, store = user(), Profiles(database, 60)
    store.apply(firing(u), taste(u, {"a": 1.0}))
    own = {
        "recent_items": [{"item_id": "i"}],
        "preferences": {"tag_scores": {"x": 1.0}, "note": 7},
        "features": {"age": 30, "total_view_count": "many"},
    }
    database["user_profiles"].update_one({"user_id": u}, {"$set": own})
    store.apply(firing(u, 1), taste(u, {"b": 1.0}, pane=1))
    found = read(database, u)
    assert found["recent_items"] == own["recent_items"]
    assert found["preferences"]["note"] == 7 and found["preferences"]["tag_scores"] == {"x": 0.5}
    assert (found["features"]["age"], found["features"]["total_view_count"]) == (30, 1)


def test_preferences_have_an_end(database: Documents) -> None:
    u, store = user(), Profiles(database, 60)
    store.apply(firing(u), taste(u, {f"c{at}": at + 1.0 for at in range(200)} | {"faint": 1e-9}))
    assert set(scores(database, u)) == {f"c{at}" for at in range(72, 200)}
    assert read(database, u)["features"]["favorite_categories"] == ["c199", "c198", "c197", "c196", "c195"]


def test_names_come_back_as_they_were() -> None:
    for name in ("a", "$a.b", "％", "％24", "nul\0", "a$", ""):
        escaped = escape(name)
        assert unescape(escaped) == name and "." not in escaped and not escaped.startswith("$")
    assert (escape("a.b"), unescape("％_id"), unescape("a％zz")) == ("a％2eb", "id", "a％zz")
    assert format_ms(START + 7) == "2026-01-01T00:00:00.007Z"
