"""From the request to the function in stage.py, and back."""

import json

from componentize_py_types import Err
from stage import Hot, pick
from wit_world import exports
from wit_world.exports.recall import Recalled, RecallRequest
from wit_world.imports import catalogue, values
from wit_world.imports.types import (
    ColumnKind,
    ColumnSpec,
    ParamError,
    Personal,
    Requirements,
    StageError,
    StageErrorCode,
)

COLUMN = "category"
# As many as the catalogue gives at a time.
HOT = 1000


class Recall(exports.Recall):
    def check(self, params: str) -> Requirements:
        try:
            read(params)
        except ValueError as error:
            raise Err(ParamError("", str(error))) from error
        return Requirements([], [], Personal.PREFERENCES)

    def recall(self, request: RecallRequest) -> Recalled:
        preferences = request.context.user.preferences
        liked = [one for one in preferences if one.field == COLUMN and one.score > 0.0]
        liked = liked[: read(request.params)]
        if not liked:
            return Recalled([], [])
        hashes = values.hash([one.value for one in liked])
        likings = {hash: one.score for hash, one in zip(hashes, liked, strict=True)}
        picked = pick(hot_items(), likings, set(request.exclude), request.limit)
        return Recalled([handle for handle, _ in picked], [score for _, score in picked])


def hot_items() -> list[Hot]:
    try:
        hot = catalogue.hot(HOT)
        column = ColumnSpec(COLUMN, ColumnKind.CATEGORICAL)
        rows = catalogue.columns(hot.handles, [column])
    except Err as error:
        message = error.value.value
        raise Err(StageError(StageErrorCode.UNAVAILABLE, message)) from error
    # Without cells where there is no such column.
    return [
        Hot(hot.handles[at], hot.scores[at], category)
        for at, category in zip(rows.found, rows.table.categorical, strict=False)
    ]


def read(params: str) -> int:
    return json.loads(params or "{}").get("categories", 3)
