"""From the request to the function in stage.py, and back."""

import json

from componentize_py_types import Err
from stage import weigh
from wit_world import exports
from wit_world.exports.rank import RankRequest
from wit_world.imports.types import ColumnKind, ColumnSpec, ParamError, Personal, Requirements

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
        width = len(items.numeric_names)
        columns = [(weights[name], items.numeric_names.index(name)) for name in COLUMNS]
        return weigh(
            [(weights["recall"], score)]
            + [(weight, items.numeric[row * width + at]) for weight, at in columns]
            for row, score in enumerate(request.candidates.scores)
        )


def read(params: str) -> dict[str, float]:
    return WEIGHTS | json.loads(params or "{}")
