"""Chooses the rows that a model is checked with before it is taken.

Real rows first, such that every feature is seen missing, known, unknown and with several
words as far as the log has it; then rows made from them, so that each model is checked
with what its log happens to lack.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import limits
from .encode import value_hash
from .features import Column, FeatureType, Input
from .rows import Rows

Row = dict[str, Any]

UNKNOWN = "a word that no vocabulary has"
MADE_ROWS = 4
"""The rows of `_made`."""


def rows(inputs: tuple[Input, ...], test: Rows, seed: int) -> list[Row]:
    """At most as many rows as the limit; only with the features that the model reads."""
    columns = {column.feature: column for each in inputs for column in each.columns}
    vocabularies = {
        feature: {
            value_hash(word) for each in inputs for c in each.columns if c.feature == feature for word in c.vocabulary
        }
        for feature in columns
    }
    order = np.random.default_rng(seed).permutation(test.count)[: limits.IMPORTANCE_ROWS]
    read = Rows(test.count, {name: test.types[name] for name in columns}, test.numbers, test.words).take(order)
    candidates = read.to_json()
    chosen = _covering(candidates, vocabularies, limits.GOLDEN_ROWS - MADE_ROWS)
    return chosen + list(_made(chosen[0], columns))


def _covering(candidates: list[Row], vocabularies: dict[str, set[int]], most: int) -> list[Row]:
    """Rows that show something new, then others up to half of what is allowed."""
    seen: set[tuple[str, str]] = set()
    new: list[Row] = []
    others: list[Row] = []
    for row in candidates:
        traits = set(_traits(row, vocabularies))
        (others if traits <= seen else new).append(row)
        seen |= traits
    return (new + others[: most // 2])[:most]


def _traits(row: Row, vocabularies: dict[str, set[int]]) -> Iterator[tuple[str, str]]:
    """What a row shows of each feature."""
    for feature, vocabulary in vocabularies.items():
        value = row.get(feature)
        if value is None:
            yield feature, "missing"
        elif isinstance(value, (str, list)):
            words = [value] if isinstance(value, str) else value
            known = sum(value_hash(word) in vocabulary for word in words)
            yield feature, "none known" if known == 0 else "one known" if known == 1 else "several known"
            if known < len(words):
                yield feature, "unknown"


def _made(row: Row, columns: dict[str, Column]) -> Iterator[Row]:
    """Everything missing; every word unknown; every word by its hash; more words than are taken."""
    yield {}
    yield row | {name: _one(column, UNKNOWN) for name, column in columns.items() if not column.type.is_number}
    yield row | {
        name: _one(column, _hashed(column.vocabulary[-1])) for name, column in columns.items() if column.vocabulary
    }
    yield row | {
        name: [UNKNOWN, *column.vocabulary[: column.length + 2]]
        for name, column in columns.items()
        if column.type is FeatureType.MULTI_CATEGORICAL
    }


def _one(column: Column, word: str) -> str | list[str]:
    return [word] if column.type is FeatureType.MULTI_CATEGORICAL else word


def _hashed(word: str) -> str:
    """The same word, as a log has it that keeps hashes only."""
    return f"#{value_hash(word):08x}"
