"""Every key of the configuration, a TOML file. Any text may be `{ env = "NAME" }`."""

import dataclasses
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    # Components that aggregate, where every task manager finds them.
    operators: list[str]
    # `host:port` of brokers, separated by commas.
    bootstrap_servers: str
    # redis://…, with database and password if there are any.
    redis_url: str
    # mongodb://…
    mongodb_url: str
    mongodb_database: str = "funnelweb"
    # Begins every key in Redis, and the names of all topics: as the host is told.
    redis_key_prefix: str = ""
    topic_prefix: str = ""
    group_id: str = "funnelweb-flink"
    # Without a checkpoint: "earliest-offset", "latest-offset", or "group-offsets".
    start: str = "earliest-offset"
    # More for Kafka's clients: TLS, SASL.
    kafka: dict[str, str] = field(default_factory=dict)
    # Jars of the connector, where the client finds them.
    jars: list[str] = field(default_factory=list)
    # How far behind the newest event the watermark is.
    out_of_order_ms: int = 10_000
    # A partition that has nothing for so long holds up no window.
    idle_ms: int = 60_000
    # How often topics of new tenants are looked for.
    discover_ms: int = 10_000
    # How long each of four steps waits for events to take more at once.
    bundle_ms: int = 200
    # How long a batch of events is known to have come.
    duplicates_ms: int = 3_600_000
    # How long stores know what was applied of a pane: longer than the job may lie after a crash. The
    # job keeps panes for twice as long.
    memory_s: int = 2 * 3600
    checkpoint_interval_ms: int = 10_000
    checkpoint_folder: str | None = None
    # A checkpoint or savepoint to go on from, where there is no `flink run --fromSavepoint`.
    restore: str | None = None
    parallelism: int = 1

    def __post_init__(self) -> None:
        if not self.operators:
            raise ValueError("operators: at least one component must be given")
        if len({Path(path).name for path in self.operators}) < len(self.operators):
            raise ValueError("operators: two components have the same name")
        if self.start not in ("earliest-offset", "latest-offset", "group-offsets"):
            raise ValueError(f"start: must be an offset that is known, got {self.start!r}")
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{one.name}: must be at least 1, got {value}")

    @classmethod
    def read(cls, path: str) -> "Settings":
        given = {name: _resolve(value) for name, value in tomllib.loads(Path(path).read_text()).items()}
        known = {one.name for one in dataclasses.fields(cls)}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"{path}: no such setting: {', '.join(unknown)}")
        return cls(**given)


def _resolve(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"env"}:
            return os.environ[value["env"]]
        return {name: _resolve(one) for name, one in value.items()}
    return value
