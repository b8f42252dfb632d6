"""Words as rows of one table of weights.

Each field has its own rows: row 0 of a field for "none of the known", then its
vocabulary. A *slot* is one place in a row of the `ids` tensor; a field has as many as its
column is wide. A *cross* has a row for each pair of values of two fields.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import limits
from .features import FeatureType, Input

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Field:
    """One column of `ids`."""

    feature: str
    slot: int
    """Its first slot."""
    width: int
    row: int
    """Its first row in the table."""
    values: int
    """Its rows: the vocabulary and one more."""
    is_multi: bool

    @property
    def slots(self) -> slice:
        """Its slots."""
        return slice(self.slot, self.slot + self.width)


@dataclass(frozen=True)
class Cross:
    """A pair of fields; only the first may be a multi-categorical one."""

    first: Field
    second: Field
    row: int
    """Its first row in the table."""

    @property
    def cells(self) -> int:
        """Its rows."""
        return self.first.values * self.second.values

    def rows(self, ids: Ids) -> Ids:
        """The table's rows, `[N, width of the first field]`."""
        return self.row + ids[:, self.first.slots] * self.second.values + ids[:, self.second.slots]


def fields(ids: Input | None) -> tuple[Field, ...]:
    """The fields of an input of words."""
    found: list[Field] = []
    slot = row = 0
    for column in ids.columns if ids else ():
        values = len(column.vocabulary) + 1
        is_multi = column.type is FeatureType.MULTI_CATEGORICAL
        found.append(Field(column.feature, slot, column.width, row, values, is_multi))
        slot += column.width
        row += values
    return tuple(found)


def field_rows(of: tuple[Field, ...], ids: Ids) -> Ids:
    """The table's rows of every slot, `[N, slots]`."""
    return ids + offsets(of)


def offsets(of: tuple[Field, ...]) -> Ids:
    """What makes an id a row of the table, by slot."""
    return np.repeat(np.array([field.row for field in of], np.int64), [field.width for field in of])


def table_rows(of: tuple[Field, ...], crosses: tuple[Cross, ...] = ()) -> int:
    """Rows of the table."""
    return sum(field.values for field in of) + sum(cross.cells for cross in crosses)


def live_rows(of: tuple[Field, ...], crosses: tuple[Cross, ...] = ()) -> NDArray[np.bool_]:
    """The rows that have weights. Those that fill up a multi-categorical column are 0 for ever."""
    live = np.ones(table_rows(of, crosses), np.bool_)
    for field in of:
        if field.is_multi:
            live[field.row] = False
    for cross in crosses:
        if cross.first.is_multi:
            live[cross.row : cross.row + cross.second.values] = False
    return live


def possible_crosses(of: tuple[Field, ...]) -> list[Cross]:
    """Pairs of fields that are small enough, their rows still to be given."""
    several = [field for field in of if field.is_multi]
    single = [field for field in of if not field.is_multi]
    pairs = [(first, second) for at, first in enumerate(single) for second in single[at + 1 :]]
    pairs += [(first, second) for first in several for second in single]
    crosses = (Cross(first, second, 0) for first, second in pairs)
    return [cross for cross in crosses if cross.cells <= limits.CROSS_CELLS]


def chosen_crosses(of: tuple[Field, ...], ids: Ids, residuals: NDArray[np.floating[Any]]) -> tuple[Cross, ...]:
    """The pairs that explain most of what a linear model leaves over (label less estimate).

    A cell's gain is the square error that its smoothed mean takes away, less what a cell
    of noise would take away.
    """
    gains = [(_gain(cross, ids, residuals), at, cross) for at, cross in enumerate(possible_crosses(of))]
    best = sorted((each for each in gains if each[0] > 0), key=lambda each: (-each[0], each[1]))[: limits.CROSSES]
    row = table_rows(of)
    placed = []
    for _, _, cross in best:
        placed.append(Cross(cross.first, cross.second, row))
        row += cross.cells
    return tuple(placed)


CELL_PRIOR_ROWS = 20
"""Rows without residual that a cell's mean is smoothed with."""


def _gain(cross: Cross, ids: Ids, residuals: NDArray[np.floating[Any]]) -> float:
    cell = cross.rows(ids)
    residual = np.broadcast_to(residuals[:, None], cell.shape)
    if cross.first.is_multi:
        known = ids[:, cross.first.slots] > 0
        cell, residual = cell[known], residual[known]
    rows = np.bincount(cell.ravel(), minlength=cross.cells)
    sums = np.bincount(cell.ravel(), weights=residual.ravel(), minlength=cross.cells)
    noise = residuals.var() * rows
    return float(np.sum((sums**2 - noise) / (rows + CELL_PRIOR_ROWS)))
