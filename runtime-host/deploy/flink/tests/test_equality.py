"""The same events make the same of hot lists, counters, profiles and messages, in the embedded
engine and in Flink, whose job is killed in between and goes on from a checkpoint."""

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from funnelweb_flink import topics

from .conftest import components
from .embedded import SCENARIO, Embedded, Json, eventually, export
from .servers import Server, cache, ferretdb, kafka, redis_server

TENANT = "acme.eu"
EVENTS = int(os.environ.get("FUNNELWEB_FLINK_EVENTS", "2000"))
# Before the job is killed, of all.
FIRST = EVENTS // 2
LATE = 20
HOUR_MS = 3_600_000
USERS, ITEMS = 40, 25
ACTIONS = ["impression", "impression", "click", "view", "like", "watch", "dislike", "purchase"]
PACKAGE = Path(__file__).resolve().parents[1]
Messages = dict[tuple[str, str, str], Json]


def behaviors(begin_ms: int) -> list[Json]:
    """Three hours of them, out of order by less than ten seconds; some come minutes late."""
    chance = random.Random(7)
    events = []
    for at in range(EVENTS):
        at_ms = begin_ms + at * 3 * HOUR_MS // EVENTS + chance.randrange(9000)
        if at % 50 == 49:
            at_ms = max(begin_ms, at_ms - chance.randrange(60_000, 230_000))
        events.append(event(f"e{at}", at_ms, chance))
    return events


def event(id_: str, at_ms: int, chance: random.Random) -> Json:
    action = chance.choice(ACTIONS)
    extra = {"watch_duration": chance.uniform(1, 60), "completion_rate": chance.random()} if action == "watch" else {}
    group = chance.choice(["", "a", "b"])
    return {
        "event_id": id_,
        "scenario_id": "feed",
        "user_id": f"u{chance.randrange(USERS)}",
        "item_id": f"i{chance.randrange(ITEMS)}",
        "action_type": action,
        "timestamp": at_ms,
        "context": {"experiment_group": group} if group else {},
        "extra": extra,
    }


def sentinel(at_ms: int) -> Json:
    """An event hours later, of nobody else: windows before it have spoken then."""
    return {
        "event_id": "sentinel",
        "scenario_id": "feed",
        "user_id": "sentinel",
        "item_id": "sentinel",
        "action_type": "view",
        "timestamp": at_ms,
        "context": {"experiment_group": "sentinel"},
    }


def items() -> list[Json]:
    # Names that MongoDB has no room for, too.
    metadata = [{"title": "t", "category": f"c.{at % 7}", "tags": [f"$t{at % 5}"]} for at in range(ITEMS)]
    return [{"item_id": f"i{at}", "metadata": one} for at, one in enumerate(metadata)]


class Cluster:
    """Kafka with a job that reads it, and the stores that it writes."""

    def __init__(self, folder: Path, servers: tuple[Server, Server, Server]) -> None:
        self._folder = folder
        broker, live, documents = servers
        self.brokers = f"127.0.0.1:{broker.port}"
        self.redis_url = f"redis://127.0.0.1:{live.port}"
        self.mongodb_url = f"mongodb://127.0.0.1:{documents.port}"
        self.live = redis.Redis.from_url(self.redis_url, decode_responses=True)
        self.topic = topics.behaviors("", TENANT)
        admin = KafkaAdminClient(bootstrap_servers=self.brokers)
        admin.create_topics([NewTopic(name, 2, 1) for name in (self.topic, *topics.OUTPUTS, topics.DEAD_LETTERS)])
        admin.close()
        self._producer = KafkaProducer(bootstrap_servers=self.brokers)

    def job(self, restore: Path | None) -> Server:
        settings: Json = {
            "operators": [str(components() / f"stream_{name}.wasm") for name in ("hotness", "metrics", "profile")],
            "bootstrap_servers": self.brokers,
            "redis_url": self.redis_url,
            "mongodb_url": self.mongodb_url,
            "jars": [f"file://{jar}" for jar in sorted((cache() / "flink/jars").glob("*.jar"))],
            "checkpoint_folder": f"file://{self._folder}/checkpoints",
            "checkpoint_interval_ms": 2000,
            # Longer than one partition is read while the other waits: else what that one has is late.
            "idle_ms": 20_000,
        }
        if restore is not None:
            settings["restore"] = f"file://{restore}"
        file, folder = self._folder / "job.toml", self._folder / "job"
        file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
        folder.mkdir(exist_ok=True)
        # What it runs in Python is the first on the path.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(PACKAGE)}
        arguments = [sys.executable, "-m", "funnelweb_flink.job", str(file)]
        return Server(arguments, folder, 0, environment)

    def checkpoint(self) -> Path | None:
        """The last that is whole; the job deletes those before."""
        found = []
        for file in (self._folder / "checkpoints").glob("*/chk-*/_metadata"):
            with suppress(FileNotFoundError):
                found.append((file.stat().st_mtime_ns, file.parent))
        return max(found)[1] if found else None

    def send(self, interactions: list[Json]) -> None:
        for one in interactions:
            self._producer.send(self.topic, key=one["user_id"].encode(), value=json.dumps(record(one)).encode())
        self._producer.flush()

    def send_raw(self, value: bytes) -> None:
        self._producer.send(self.topic, key=b"raw", value=value)
        self._producer.flush()

    def counted(self) -> int:
        """How many events the counters of items have."""
        keys = self.live.keys(f"item:stats:{TENANT}:*")
        fields = [self.live.hgetall(key) for key in keys]
        names = {f"{action}_count" for action in ACTIONS}
        return sum(int(float(value)) for all_ in fields for name, value in all_.items() if name in names)

    def read(self, *names: str) -> list[tuple[str, str, Json]]:
        consumer = KafkaConsumer(bootstrap_servers=self.brokers)
        places = [TopicPartition(name, partition) for name in names for partition in range(2)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        found = []
        while any(consumer.position(place) < end for place, end in ends.items()):
            for place, records in consumer.poll(1000).items():
                found += [(place.topic, one.key.decode(), json.loads(one.value)) for one in records]
        consumer.close()
        return found

    def export(self) -> list[Json]:
        config = self._folder / "remote.toml"
        config.write_text(
            '[stores]\ndocuments = "mongodb"\nlive = "redis"\nkey_value = "redis"\nvectors = "embedded"\n'
            f'[mongodb]\nurl = "{self.mongodb_url}"\ndatabase = "funnelweb"\n[redis]\nurls = ["{self.redis_url}"]\n'
        )
        stores = ["--runtime-config", str(config), "--data-dir", str(self._folder / "data")]
        return export(TENANT, self._folder / "export.ndjson", stores)


def record(interaction: Json) -> Json:
    """As the host publishes an event that it has accepted."""
    batch, index = divmod(interaction["offset"], 100)
    return {"tenant_id": TENANT, **interaction, "batch": f"{batch:032x}", "index": index}


def of_kind(records: list[Json], kind: str, *key: str) -> dict[tuple[str, ...], Json]:
    own = [one["record"] for one in records if one["kind"] == kind]
    return {tuple(one[name] for name in key): one for one in own}


def last(messages: list[tuple[str, str, Json]]) -> Messages:
    """Of each window what it said last; without the sentinel's."""
    said = [(topic, key, body) for topic, key, body in messages if "sentinel" not in key]
    return {(topic, key, body["window_end"]): body for topic, key, body in said}


def approximate(value: Any, relative: float, absolute: float | None = None) -> Any:
    if isinstance(value, dict):
        return {name: approximate(one, relative, absolute) for name, one in value.items()}
    return pytest.approx(value, rel=relative, abs=absolute) if isinstance(value, float) else value


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        starting = [kafka(tmp_path / "kafka"), redis_server(tmp_path / "redis"), ferretdb(tmp_path / "ferretdb")]
        broker, live, documents = [stack.enter_context(server) for server in starting]
        yield Cluster(tmp_path, (broker, live, documents))


def test_flink_makes_the_same_of_the_same_events(cluster: Cluster, tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    begin_ms = now_ms - 8 * HOUR_MS
    chance = random.Random(8)
    late = [event(f"late{at}", begin_ms + at * 60_000, chance) for at in range(LATE)]
    host = Embedded(tmp_path / "embedded", TENANT)
    with host.up(operators=False):
        host.call("/api/v1/scenarios", SCENARIO)
        host.call("/api/v1/items/feed", items())
        host.call("/api/v1/behaviors", [*behaviors(begin_ms), sentinel(begin_ms + 6 * HOUR_MS)])
    with host.up(operators=True):
        host.settle()
        host.call("/api/v1/behaviors", late)
        host.settle()
        expected_counters, expected_messages = host.counters(), last(host.messages())
    expected = host.export()
    interactions = sorted(of_kind(expected, "interactions", "event_id").values(), key=lambda one: one["offset"])
    assert len(interactions) == EVENTS + 1 + LATE

    job = cluster.job(None)
    try:
        cluster.send(interactions[: FIRST // 2])
        cluster.send_raw(b"\xff\xfe")
        cluster.send_raw(b'{"tenant_id": "acme.eu"}')
        # Published again, as after an answer that was lost.
        cluster.send(interactions[10:60])
        begun = time.monotonic()

        def has_counted(events: int) -> bool:
            job.check()
            print(f"\r{cluster.counted()} of {events}", end=" ")
            return cluster.counted() == events

        eventually("the first events are counted", lambda: has_counted(FIRST // 2))
        print(f"{FIRST // 2} events after {time.monotonic() - begun:.1f} s, with the start of the job")
        known = cluster.checkpoint()
        eventually("there is a checkpoint", lambda: cluster.checkpoint() not in (None, known))
        cluster.send(interactions[FIRST // 2 : FIRST])
        # One that begins while events are on their way, and some that come after it.
        eventually("more is counted", lambda: cluster.counted() > FIRST // 2)
        known = cluster.checkpoint()
        eventually("there is a checkpoint", lambda: cluster.checkpoint() != known)
        counted = cluster.counted()
        eventually("more is counted", lambda: cluster.counted() > min(counted, FIRST - 1))
        print(f"killed with {cluster.counted()} events")
    finally:
        job.stop()
    job = cluster.job(cluster.checkpoint())
    try:
        cluster.send(interactions[FIRST - 50 : FIRST])
        cluster.send(interactions[FIRST:-LATE])
        begun = time.monotonic()
        eventually("all are counted", lambda: has_counted(EVENTS + 1))
        print(f"{EVENTS - FIRST} more after {time.monotonic() - begun:.1f} s")
        # Until the sentinel has closed all windows.
        eventually("windows speak", lambda: set(last(cluster.read(*topics.OUTPUTS))) >= flinks(expected_messages))
        cluster.send(interactions[-LATE:])
        eventually("late events are counted", lambda: has_counted(EVENTS + 1 + LATE))
        for _ in range(2):
            # What came before it is written then.
            seen = cluster.checkpoint()
            eventually("there is a checkpoint", lambda seen=seen: cluster.checkpoint() != seen)
        said = cluster.read(*topics.OUTPUTS)
        dead = cluster.read(topics.DEAD_LETTERS)
    finally:
        job.stop()

    got = cluster.export()
    hot = of_kind(expected, "hot_items", "scenario_id", "item_id")
    assert of_kind(got, "hot_items", "scenario_id", "item_id") == {
        place: approximate(one, 1e-6) for place, one in hot.items()
    }
    assert len(hot) == ITEMS + 1
    stats = of_kind(expected, "item_stats", "item_id")
    assert of_kind(got, "item_stats", "item_id") == {item: approximate(one, 1e-12) for item, one in stats.items()}
    profiles = of_kind(got, "user_profiles", "scenario_id", "id")
    for place, one in of_kind(expected, "user_profiles", "scenario_id", "id").items():
        own = {name: one["body"][name] for name in ("preferences", "features", "preferences_at_ms")}
        body = profiles[place]["body"]
        # Steps of the embedded engine are rounded to 32 bits; likings and dislikings cancel out.
        assert {name: body[name] for name in own} == approximate(own, 1e-5, 1e-5), place
    counters = {name: float(value) for name, value in cluster.live.hgetall(f"stream:counters:{TENANT}").items()}
    assert counters == approximate(expected_counters, 1e-12)
    ours = last(said)
    assert set(ours) == flinks(expected_messages)
    for (topic, key, end), body in expected_messages.items():
        assert ours[topic, f"{TENANT}/{key}", end] == approximate({"tenant_id": TENANT, **body}, 1e-9)
    reasons = sorted(letter["reason"] for _, _, letter in dead)
    assert len(set(reasons)) == 2 and reasons[0].startswith("JSON") and reasons[-1].startswith("missing field")


def flinks(messages: Messages) -> set[tuple[str, str, str]]:
    """Their keys as the job writes them, which begin with the tenant."""
    return {(topic, f"{TENANT}/{key}", end) for topic, key, end in messages}
