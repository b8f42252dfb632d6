"""From batches to the functions in stage.py, and back."""

from componentize_py_types import Err
from stage import finished, read, write
from wit_world import exports
from wit_world.exports.aggregate import (
    Aggregated,
    Batch,
    Change,
    Change_Count,
    Count,
    Declaration,
    Field,
    Output,
    Window,
)

MINUTE_MS = 60_000


class Aggregate(exports.Aggregate):
    def declare(self) -> Declaration:
        return Declaration([Field.ITEM], Window(MINUTE_MS, MINUTE_MS), 5 * MINUTE_MS)

    def aggregate(self, batches: list[Batch]) -> list[bytes]:
        return [write(finished(event.completion_rate or 0.0 for event in batch.events)) for batch in batches]

    def merge(self, parts: list[list[bytes]]) -> list[bytes]:
        return [write(sum(count(part) for part in one)) for one in parts]

    def changes(self, panes: list[Aggregated]) -> list[list[Change]]:
        return [changes(pane) for pane in panes]

    def summary(self, windows: list[Aggregated]) -> list[list[Output]]:
        return [[] for _ in windows]


def changes(pane: Aggregated) -> list[Change]:
    amount = count(pane.accumulator)
    (item_id,) = pane.key
    return [Change_Count(Count(item_id, "finished_count", float(amount)))] if amount else []


def count(accumulator: bytes) -> int:
    try:
        return read(accumulator)
    except ValueError as error:
        raise Err(str(error)) from error
