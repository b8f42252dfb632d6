"""From the request to the function in stage.py, and back."""

import json
from collections.abc import Sequence
from math import nan

from componentize_py_types import Err
from stage import weigh
from wit_world import exports
from wit_world.exports.rank import RankRequest
from wit_world.imports.types import (
    ColumnKind,
    ColumnSpec,
    ParamError,
    Personal,
    Requirements,
    Table,
)

COLUMNS = ["quality", "price"]
WEIGHTS = {"recall": 1.0, "quality": 1.0, "price": -0.1}


class Rank(exports.Rank):
    def check(self, params: str) -> Requirements:
        try:
            read(params)
        except ValueError as error:
            raise Err(ParamError("", str(error))) from error
        columns = [ColumnSpec(name, ColumnKind.NUMERIC) for name in COLUMNS]
        return Requirements(columns, [], Personal(0))

    def rank(self, request: RankRequest) -> list[float]:
        weights, items = read(request.params), request.items
        columns = [(weights["recall"], request.candidates.scores)]
        columns += [(weights[name], column(items, name)) for name in COLUMNS]
        return weigh([(weight, cells[row]) for weight, cells in columns] for row in range(items.rows))


def column(items: Table, name: str) -> Sequence[float]:
    """The cells of a column, row by row; all missing (NaN) where there is no such column."""
    names = items.numeric_names
    return items.numeric[names.index(name) :: len(names)] if name in names else [nan] * items.rows


def read(params: str) -> dict[str, float]:
    return WEIGHTS | json.loads(params or "{}")
