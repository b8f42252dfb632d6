"""The same events make the same of hot lists, counters, profiles and messages, in the embedded
engine and in Flink, whose job is killed in between and goes on from a checkpoint."""

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
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

# Of different events about users and items that are called the same.
TENANTS = ("acme.eu", "globex")
PARTITIONS = 2
# Of each tenant: all; before the job is killed, and before the checkpoint that it goes on from.
EVENTS, FIRST, BEFORE, LATE = 400, 240, 200, 10
HOUR_MS = 3_600_000
USERS, ITEMS = 20, 12
ACTIONS = ["impression", "impression", "click", "view", "like", "watch", "dislike", "purchase"]
PACKAGE = Path(__file__).resolve().parents[1]
# How reasons begin for which records end as dead letters.
REASONS = [
    "JSON: 'utf-8'",
    "JSON: it is too deep",
    "missing field `batch`",
    "there is no value",
    "timestamp_ms: lies more than",
    "stream-hotness: changes: amounts must be",
    "stream-metrics: changes: a metric's amount must be",
]
Messages = dict[tuple[str, str, str], Json]


def behaviors(begin_ms: int, chance: random.Random) -> list[Json]:
    """Three hours of them, out of order by less than ten seconds; some come minutes late."""
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


@dataclass
class Expected:
    """What the embedded engine makes of a tenant's events."""

    tenant: str
    # As the log has them, in its order.
    interactions: list[Json]
    exported: list[Json]
    counters: dict[str, float]
    messages: Messages

    @classmethod
    def of(cls, tenant: str, begin_ms: int, folder: Path) -> "Expected":
        chance = random.Random(tenant)
        early = [*behaviors(begin_ms, chance), sentinel(begin_ms + 6 * HOUR_MS)]
        late = [event(f"late{at}", begin_ms + at * 120_000, chance) for at in range(LATE)]
        host = Embedded(folder, tenant)
        with host.up(operators=False):
            host.call("/api/v1/scenarios", SCENARIO)
            host.call("/api/v1/items/feed", items())
            host.call("/api/v1/behaviors", early)
        with host.up(operators=True):
            host.settle()
            host.call("/api/v1/behaviors", late)
            host.settle()
            counters, messages = host.counters(), last(host.messages())
        exported = host.export()
        interactions = sorted(of_kind(exported, "interactions", "event_id").values(), key=lambda one: one["offset"])
        assert len(interactions) == EVENTS + 1 + LATE
        return cls(tenant, interactions, exported, counters, messages)

    def said(self) -> Messages:
        """The messages as the job writes them, for all tenants."""
        return {
            (topic, f"{self.tenant}/{key}", end): {"tenant_id": self.tenant, **body}
            for (topic, key, end), body in self.messages.items()
        }


class Cluster:
    """Kafka with a job that reads it, and the stores that it writes."""

    def __init__(self, folder: Path, servers: tuple[Server, Server, Server]) -> None:
        self._folder = folder
        broker, live, documents = servers
        self.brokers = f"127.0.0.1:{broker.port}"
        self.redis_url = f"redis://127.0.0.1:{live.port}"
        self.mongodb_url = f"mongodb://127.0.0.1:{documents.port}"
        self.live = redis.Redis.from_url(self.redis_url, decode_responses=True)
        names = (*(topics.behaviors("", tenant) for tenant in TENANTS), *topics.OUTPUTS, topics.DEAD_LETTERS)
        admin = KafkaAdminClient(bootstrap_servers=self.brokers)
        admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
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
            # No partition that has nothing just then is passed over: what comes to it would be late.
            "idle_ms": 600_000,
        }
        if restore is not None:
            settings["restore"] = f"file://{restore}"
        file, folder = self._folder / "job.toml", self._folder / "job"
        file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
        scratch = folder / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            # What it runs in Python is the first on the path.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(PACKAGE),
            # One that is killed leaves there what it would else have removed.
            "TMPDIR": str(scratch),
            "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={scratch}",
        }
        arguments = [sys.executable, "-m", "funnelweb_flink.job", str(file)]
        return Server(arguments, folder, 0, environment)

    def checkpoint(self) -> Path | None:
        """The last that is whole; the job deletes those before."""
        found = []
        for file in (self._folder / "checkpoints").glob("*/chk-*/_metadata"):
            with suppress(FileNotFoundError):
                found.append((file.stat().st_mtime_ns, file.parent))
        return max(found)[1] if found else None

    def send(self, tenant: str, interactions: list[Json]) -> None:
        """Users to partitions; sentinels to all, of which one is read as an event."""
        topic = topics.behaviors("", tenant)
        for one in interactions:
            value = json.dumps(record(tenant, one)).encode()
            everywhere = range(PARTITIONS) if one["event_id"] == "sentinel" else [None]
            for partition in everywhere:
                self._producer.send(topic, key=one["user_id"].encode(), value=value, partition=partition)
        self._producer.flush()

    def send_raw(self, values: list[bytes | None]) -> None:
        for value in values:
            self._producer.send(topics.behaviors("", TENANTS[0]), key=b"raw", value=value)
        self._producer.flush()

    def counted(self) -> int:
        """How many events the counters of items have."""
        keys = self.live.keys("item:stats:*")
        fields = [self.live.hgetall(key) for key in keys]
        names = {f"{action}_count" for action in ACTIONS}
        return sum(int(float(value)) for all_ in fields for name, value in all_.items() if name in names)

    def read(self, *names: str) -> list[tuple[str, str, Json]]:
        consumer = KafkaConsumer(bootstrap_servers=self.brokers)
        places = [TopicPartition(name, partition) for name in names for partition in range(PARTITIONS)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        found = []
        while any(consumer.position(place) < end for place, end in ends.items()):
            for place, records in consumer.poll(1000).items():
                found += [(place.topic, one.key.decode(), json.loads(one.value)) for one in records]
        consumer.close()
        return found

    def export(self, tenant: str) -> list[Json]:
        config = self._folder / "remote.toml"
        config.write_text(
            '[stores]\ndocuments = "mongodb"\nlive = "redis"\nkey_value = "redis"\nvectors = "embedded"\n'
            f'[mongodb]\nurl = "{self.mongodb_url}"\ndatabase = "funnelweb"\n[redis]\nurls = ["{self.redis_url}"]\n'
        )
        stores = ["--runtime-config", str(config), "--data-dir", str(self._folder / "data")]
        return export(tenant, self._folder / "export.ndjson", stores)


def record(tenant: str, interaction: Json) -> Json:
    """As the host publishes an event that it has accepted."""
    batch, index = divmod(interaction["offset"], 100)
    return {"tenant_id": tenant, **interaction, "batch": f"{batch:032x}", "index": index}


def poison(tenant: str, interaction: Json) -> bytes:
    """One that operators take and whose pane would add more than anything may."""
    body = {"context": {"experiment_group": "a"}, "extra": {"watch_duration": 1e16}}
    own = {"event_id": "poison", "user_id": "sentinel", "action_type": "watch", "body": body, "signal": None}
    return json.dumps({**record(tenant, interaction), **own, "batch": "f" * 32}).encode()


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
    begin_ms = time.time_ns() // 1_000_000 - 8 * HOUR_MS
    expected = [Expected.of(tenant, begin_ms, tmp_path / tenant) for tenant in TENANTS]
    spoken = {place: body for one in expected for place, body in one.said().items()}

    def send(first: int, end: int) -> None:
        for one in expected:
            cluster.send(one.tenant, one.interactions[first:end])

    def until_counted(events: int) -> None:
        def are_counted() -> bool:
            job.check()
            counted = cluster.counted()
            assert counted <= events * len(TENANTS)
            return counted == events * len(TENANTS)

        eventually(f"{events} events of each tenant are counted", are_counted)

    def until_checkpoint() -> None:
        known = cluster.checkpoint()
        eventually("there is a checkpoint", lambda: cluster.checkpoint() not in (None, known))

    job = cluster.job(None)
    try:
        send(0, FIRST // 2)
        cluster.send_raw([b"\xff\xfe", b'{"tenant_id": "acme.eu"}', None, b"[" * 100_000])
        cluster.send_raw([poison(TENANTS[0], expected[0].interactions[at]) for at in range(3)])
        # Published again, as after an answer that was lost.
        send(10, 60)
        until_counted(FIRST // 2)
        until_checkpoint()
        # A checkpoint that begins while events are on their way, and some that come after it.
        counted = cluster.counted()
        send(FIRST // 2, BEFORE)
        eventually("more is counted", lambda: cluster.counted() > counted)
        until_checkpoint()
        counted = cluster.counted()
        send(BEFORE, FIRST)
        eventually("more is counted", lambda: cluster.counted() > counted)
    finally:
        job.stop()
    job = cluster.job(cluster.checkpoint())
    try:
        send(FIRST - 50, FIRST)
        send(FIRST, -LATE)
        until_counted(EVENTS + 1)
        # The sentinels close all windows.
        eventually("windows speak", lambda: set(last(cluster.read(*topics.OUTPUTS))) >= set(spoken))
        far = {**record(TENANTS[0], expected[0].interactions[0]), "batch": "e" * 32}
        cluster.send_raw([json.dumps({**far, "timestamp_ms": at_ms}).encode() for at_ms in (2**45, 2**63 - 1)])
        send(EVENTS + 1, EVENTS + 1 + LATE)
        until_counted(EVENTS + 1 + LATE)
        for _ in range(2):
            # What came before it is written then.
            until_checkpoint()
        said = last(cluster.read(*topics.OUTPUTS))
        dead = cluster.read(topics.DEAD_LETTERS)
    finally:
        job.stop()

    for one in expected:
        check_stores(cluster, one)
    assert set(said) == set(spoken)
    for place, body in spoken.items():
        assert said[place] == approximate(body, 1e-9), place
    reasons = {letter["reason"] for _, _, letter in dead}
    for begin in REASONS:
        assert any(reason.startswith(begin) for reason in reasons), begin
    assert len(reasons) == len(REASONS), reasons
    assert {topic for _, topic, _ in dead} == {topics.behaviors("", TENANTS[0])}


def check_stores(cluster: Cluster, expected: Expected) -> None:
    """That they have of a tenant what it should have."""
    got = cluster.export(expected.tenant)
    hot = of_kind(expected.exported, "hot_items", "scenario_id", "item_id")
    assert of_kind(got, "hot_items", "scenario_id", "item_id") == {
        place: approximate(one, 1e-6) for place, one in hot.items()
    }
    assert len(hot) == ITEMS + 1
    stats = of_kind(expected.exported, "item_stats", "item_id")
    assert of_kind(got, "item_stats", "item_id") == {item: approximate(one, 1e-12) for item, one in stats.items()}
    profiles = of_kind(got, "user_profiles", "scenario_id", "id")
    expected_profiles = of_kind(expected.exported, "user_profiles", "scenario_id", "id")
    assert set(profiles) == set(expected_profiles)
    for place, one in expected_profiles.items():
        own = {name: one["body"][name] for name in ("preferences", "features", "preferences_at_ms")}
        body = profiles[place]["body"]
        # Steps of the embedded engine are rounded to 32 bits; likings and dislikings cancel out.
        assert {name: body[name] for name in own} == approximate(own, 1e-5, 1e-5), place
    counters = cluster.live.hgetall(f"stream:counters:{expected.tenant}")
    assert {name: float(value) for name, value in counters.items()} == approximate(expected.counters, 1e-12)
