"""The job: `python -m funnelweb_flink.job job.toml`, or `flink run -py`.

    topics of behaviours → Decode → Parts → Panes → Results → Redis, MongoDB, topics

Source and sinks are tables: only they know a record's topic and place in Python, follow the
watermark of each partition, and write keys of their own.
"""

import base64
import dataclasses
import json
import sys

from pyflink.common import Configuration, Row, Types
from pyflink.datastream import CheckpointingMode, DataStream, StreamExecutionEnvironment
from pyflink.table import StatementSet, StreamTableEnvironment

from . import topics
from .firing import Letter
from .panes import Panes
from .parts import DEAD, Decode, Parts
from .results import Results
from .settings import Settings

PICKLED = Types.PICKLED_BYTE_ARRAY()
MESSAGE = Types.ROW_NAMED(["topic", "key", "body"], [Types.STRING(), Types.STRING(), Types.STRING()])
# Bytes of a record that are kept with the reason why it is none.
LETTER_BYTES = 4096


def run(settings: Settings) -> None:
    env = environment(settings)
    tables = StreamTableEnvironment.create(env)
    statements = build(tables, settings)
    statements.attach_as_datastream()
    env.execute("funnelweb")


def environment(settings: Settings) -> StreamExecutionEnvironment:
    configuration = Configuration()
    configuration.set_string("python.executable", sys.executable)
    configuration.set_string("python.client.executable", sys.executable)
    # What comes waits for others to go with for so long.
    configuration.set_string("python.fn-execution.bundle.time", str(settings.bundle_ms))
    if settings.checkpoint_folder is not None:
        configuration.set_string("execution.checkpointing.dir", settings.checkpoint_folder)
    if settings.restore is not None:
        configuration.set_string("execution.state-recovery.path", settings.restore)
    retention = "execution.checkpointing.externalized-checkpoint-retention"
    configuration.set_string(retention, "RETAIN_ON_CANCELLATION")
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    env.set_parallelism(settings.parallelism)
    env.enable_checkpointing(settings.checkpoint_interval_ms, CheckpointingMode.EXACTLY_ONCE)
    if settings.jars:
        env.add_jars(*settings.jars)
    return env


def build(tables: StreamTableEnvironment, settings: Settings) -> StatementSet:
    tables.get_config().set("table.exec.source.idle-timeout", f"{settings.idle_ms} ms")
    tables.execute_sql(_source(settings))
    tables.execute_sql(_sink(settings))
    rows = tables.sql_query("SELECT `value`, `topic`, `partition`, `offset`, `at` FROM behaviors")
    prefix, paths = settings.topic_prefix, settings.operators
    behaviors = tables.to_data_stream(rows).process(Decode(prefix), PICKLED).uid("decode").name("decode")
    parts = (
        behaviors.key_by(lambda behavior: f"{behavior.tenant}/{behavior.batch}", Types.STRING())
        .process(Parts(paths, settings.duplicates_ms), PICKLED)
        .uid("parts")
        .name("parts")
    )
    panes = (
        parts.key_by(lambda part: part.place(), Types.STRING())
        .process(Panes(paths, settings.memory_s), PICKLED)
        .uid("panes")
        .name("panes")
    )
    results = (
        panes.key_by(lambda firing: firing.group(), Types.STRING())
        .process(Results(settings), MESSAGE)
        .uid("results")
        .name("results")
    )
    dead = behaviors.get_side_output(DEAD).union(*(step.get_side_output(DEAD) for step in (parts, panes, results)))
    topic = prefix + topics.DEAD_LETTERS
    letters: DataStream = dead.map(lambda letter: _row(topic, letter), MESSAGE).uid("letters").name("letters")
    statements = tables.create_statement_set()
    statements.add_insert("messages", tables.from_data_stream(results.union(letters)))
    return statements


def _row(topic: str, letter: Letter) -> Row:
    value = base64.b64encode(letter.value[:LETTER_BYTES]).decode()
    body = {**dataclasses.asdict(letter.origin), "reason": letter.reason, "value": value}
    return Row(topic, letter.origin.topic, json.dumps(body))


def _source(settings: Settings) -> str:
    # An event ahead of the clock moves the watermark to it and no further.
    return f"""
        CREATE TABLE behaviors (
            `value` BYTES,
            `topic` STRING METADATA VIRTUAL,
            `partition` INT METADATA VIRTUAL,
            `offset` BIGINT METADATA VIRTUAL,
            `at` AS COALESCE(
                TO_TIMESTAMP_LTZ(
                    TRY_CAST(JSON_VALUE(CAST(`value` AS STRING), '$.timestamp_ms') AS BIGINT), 3),
                TO_TIMESTAMP_LTZ(0, 3)),
            WATERMARK FOR `at` AS LEAST(`at`, CURRENT_ROW_TIMESTAMP()) - INTERVAL '{
        settings.out_of_order_ms / 1000:.3f}' SECOND
        ) WITH ({
        _options(
            {
                **_kafka(settings),
                "topic-pattern": topics.pattern(settings.topic_prefix),
                "properties.group.id": settings.group_id,
                "properties.auto.offset.reset": "earliest",
                "scan.startup.mode": settings.start,
                "scan.topic-partition-discovery.interval": f"{settings.discover_ms} ms",
                "format": "raw",
            }
        )
    })"""


def _sink(settings: Settings) -> str:
    written = ";".join(settings.topic_prefix + topic for topic in (*topics.OUTPUTS, topics.DEAD_LETTERS))
    return f"""
        CREATE TABLE messages (`topic` STRING METADATA, `key` STRING, `body` STRING) WITH ({
        _options(
            {
                **_kafka(settings),
                "topic": written,
                "key.format": "raw",
                "key.fields": "key",
                "value.format": "raw",
                "value.fields-include": "EXCEPT_KEY",
                "sink.delivery-guarantee": "at-least-once",
            }
        )
    })"""


def _kafka(settings: Settings) -> dict[str, str]:
    more = {f"properties.{name}": value for name, value in settings.kafka.items()}
    return {"connector": "kafka", "properties.bootstrap.servers": settings.bootstrap_servers, **more}


def _options(options: dict[str, str]) -> str:
    quoted = [(name.replace("'", "''"), value.replace("'", "''")) for name, value in options.items()]
    return ", ".join(f"'{name}' = '{value}'" for name, value in quoted)


if __name__ == "__main__":
    run(Settings.read(sys.argv[1]))
