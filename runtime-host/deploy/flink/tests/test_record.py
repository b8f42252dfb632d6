"""Records, and the names of topics."""

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from funnelweb_flink import topics
from funnelweb_flink.record import Behavior, Origin, Unreadable, decode, is_id

NOW_MS = 1_700_000_000_000
README = Path(__file__).resolve().parents[3] / "log-kafka/README.md"
GOLDEN = README.read_text().split("```json\n")[1].split("```")[0]


def read(text: str) -> Behavior:
    return decode("acme", Origin("user-behaviors-acme", 2, 7), text.encode(), NOW_MS)


def test_the_record_that_the_readme_shows_is_read() -> None:
    behavior = read(GOLDEN)
    assert (behavior.batch, behavior.index, behavior.origin.offset) == ("018bcfe56800000000000000000000ff", 3, 7)
    event = behavior.event
    assert (event.user_id, event.item_id, event.action_type, event.timestamp_ms) == ("ann", "item_7", "like", NOW_MS)
    assert event.signal and event.signal.preferences == [("category", "food", 0.1)]


def test_what_its_body_says_is_read_if_it_is_of_its_type() -> None:
    def details(body: object) -> tuple[object, ...]:
        event = read(json.dumps({**json.loads(GOLDEN), "body": body})).event
        return event.group, event.completion_rate, event.watch_duration

    whole = {"context": {"experiment_group": "b"}, "extra": {"completion_rate": 1, "watch_duration": 2.5}}
    assert details(whole) == ("b", 1.0, 2.5)
    mixed = {"context": {"experiment_group": 7}, "extra": {"completion_rate": "1", "watch_duration": True}}
    assert details(mixed) == ("", None, None)
    assert details({"context": 7, "extra": {"watch_duration": 2.5}}) == ("", None, None)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("{", "", "JSON"),
        ('"user_id": "ann",', "", "missing field `user_id`"),
        ('"user_id": "ann"', '"user_id": 7', "user_id: must be a str"),
        ('"user_id": "ann"', '"user_id": "a b"', "user_id: may hold"),
        ('"like"', '""', "action_type: must be 1 to"),
        ("1700000000000", "1800000000000", "timestamp_ms: lies more than"),
        ('"acme"', '"other"', "tenant_id: is not"),
        ("018bcfe5", "018BCFE5", "batch: must be 32"),
        ('"index": 3', '"index": 1000', "index: must be below 1000"),
        ('"index": 3', '"index": true', "index: must be a whole number"),
        ('"weight": 3.0', '"weight": 1e13', "signal: amounts must be"),
        ("86400", "0", "signal: half-lives must be"),
        ('"like"', r'"\ud800"', "holds half a character"),
        ('"food"', r'"\udfff"', "holds half a character"),
        ('[["category", "food", 0.1]]', "7", "preferences: must be a list"),
        ("3.0", "NaN", "JSON: no number is NaN"),
        ("3.0", "1e999", "JSON: no number is 1e999"),
        ("3.0", "9" * 400, "JSON: no number is 999"),
    ],
)
def test_what_is_no_behaviour_is_refused_with_the_reason(old: str, new: str, reason: str) -> None:
    assert old in GOLDEN
    with pytest.raises(Unreadable, match=re.escape(reason)):
        read(GOLDEN.replace(old, new, 1))


def test_reasons_and_depths_have_an_end() -> None:
    for text in ("[" * 200_000, json.dumps({"tenant_id": ["x" * 10_000]}), "\x00", "[]"):
        with pytest.raises(Unreadable) as refused:
            read(text)
        assert len(str(refused.value)) <= 200


def test_whatever_stands_in_a_field_is_read_or_refused() -> None:
    def places(value: object, at: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
        yield at
        if isinstance(value, dict | list):
            for name, one in value.items() if isinstance(value, dict) else enumerate(value):
                yield from places(one, (*at, name))

    odd = [
        "null",
        "true",
        "7",
        "-1",
        "1e300",
        "9" * 30,
        '""',
        r'"\ud800"',
        "[]",
        "[7]",
        "{}",
        '{"a": null}',
        "[" * 900 + "]" * 900,
    ]
    refused = 0
    for *path, last in list(places(json.loads(GOLDEN)))[1:]:
        for value in odd:
            record = json.loads(GOLDEN)
            place = record
            for name in path:
                place = place[name]
            place[last] = "ODD"
            try:
                read(json.dumps(record).replace('"ODD"', value))
            except Unreadable:
                refused += 1
    assert refused > 150


def test_names_of_topics_are_read_as_they_were_written() -> None:
    alphabet = ["a", "-", ".", ":", "_", "d", "h"]
    ids = ["".join(one) for length in range(1, 5) for one in product(alphabet, repeat=length)]
    ids += [f"dead{end}" for end in ("", "-", "--", "-x", "-e", "--e", "x")]
    pattern = re.compile(topics.pattern("p."))
    names = {}
    for tenant in filter(is_id, ids):
        name = topics.behaviors("p.", tenant)
        assert topics.tenant("p.", name) == tenant and pattern.fullmatch(name)
        assert names.setdefault(name.replace(".", "_"), tenant) == tenant
    assert topics.behaviors("", "acme-shop_1") == "user-behaviors-acme-shop_1"


@pytest.mark.parametrize("name", ["other", "user-behaviors-", "user-behaviors-a--x", "user-behaviors-dead-acme"])
def test_other_names_are_none_of_ours(name: str) -> None:
    assert topics.tenant("", name) is None
