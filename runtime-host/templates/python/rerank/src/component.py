"""From the request to the function in stage.py, and back."""

import json
from collections.abc import Sequence

from componentize_py_types import Err
from stage import lift
from wit_world import exports
from wit_world.exports.rerank import Reranked, RerankRequest
from wit_world.imports import values
from wit_world.imports.types import (
    ColumnKind,
    ColumnSpec,
    ParamError,
    Personal,
    Requirements,
    Table,
)

COLUMN = "category"


class Rerank(exports.Rerank):
    def check(self, params: str) -> Requirements:
        try:
            read(params)
        except ValueError as error:
            raise Err(ParamError("", str(error))) from error
        columns = [ColumnSpec(COLUMN, ColumnKind.CATEGORICAL)]
        return Requirements(columns, [], Personal.PREFERENCES)

    def rerank(self, request: RerankRequest) -> Reranked:
        candidates, column = request.candidates, categories(request.items)
        preferences = [one for one in request.context.user.preferences if one.field == COLUMN]
        hashes = values.hash([one.value for one in preferences])
        preferred = {hash: one.score for hash, one in zip(hashes, preferences, strict=True)}
        boost = read(request.params) * request.weight
        places = lift(candidates.scores, [column[row] for row in request.rows], preferred, boost)
        return Reranked(
            handles=[candidates.handles[position] for position, _ in places],
            scores=[score for _, score in places],
            removed=[],
        )


def categories(items: Table) -> Sequence[int]:
    """The category of each row; 0, which is none, where there is no such column."""
    names = items.categorical_names
    return items.categorical[names.index(COLUMN) :: len(names)] if COLUMN in names else [0] * items.rows


def read(params: str) -> float:
    return json.loads(params or "{}").get("boost", 0.5)
