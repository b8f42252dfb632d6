"""Rows in memory: numbers as arrays with NaN, words as codes into a list of distinct ones.

A categorical feature is held as a multi-categorical one with at most one word a row, so
that the rest of the project has words in one shape only.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .features import FeatureType


@dataclass(frozen=True)
class Words:
    """The words of one feature: those of row `r` are `distinct[codes[offsets[r]:offsets[r + 1]]]`."""

    distinct: tuple[str, ...]
    codes: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Words per row."""
        return np.diff(self.offsets)

    @property
    def row_of_word(self) -> NDArray[np.int64]:
        """The row that each word stands in."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def of_row(self, row: int) -> list[str]:
        """The words of one row, in order."""
        return [self.distinct[code] for code in self.codes[self.offsets[row] : self.offsets[row + 1]]]

    def take(self, rows: NDArray[np.int64]) -> "Words":
        """The words of some rows."""
        counts = self.counts[rows]
        offsets = np.concatenate(([0], np.cumsum(counts)))
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        return Words(self.distinct, self.codes[np.repeat(self.offsets[:-1][rows], counts) + within], offsets)

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[str]]) -> "Words":
        """From the words of each row."""
        distinct: dict[str, int] = {}
        codes: list[int] = []
        offsets = [0]
        for words in lists:
            codes += [distinct.setdefault(word, len(distinct)) for word in words]
            offsets.append(len(codes))
        return cls(tuple(distinct), np.array(codes, np.int64), np.array(offsets, np.int64))


@dataclass(frozen=True)
class Rows:
    """The features of some rows, by name."""

    count: int
    types: Mapping[str, FeatureType]
    numbers: Mapping[str, NDArray[np.float32]]
    words: Mapping[str, Words]

    def take(self, rows: NDArray[np.int64]) -> "Rows":
        """Some of the rows."""
        return Rows(
            count=len(rows),
            types=self.types,
            numbers={name: values[rows] for name, values in self.numbers.items()},
            words={name: words.take(rows) for name, words in self.words.items()},
        )

    def to_json(self) -> list[dict[str, Any]]:
        """As golden rows have it: what is missing is left out."""
        return [self._row_to_json(row) for row in range(self.count)]

    def _row_to_json(self, row: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, kind in self.types.items():
            if kind.is_number:
                if not np.isnan(self.numbers[name][row]):
                    values[name] = float(self.numbers[name][row])
            elif words := self.words[name].of_row(row):
                values[name] = words if kind is FeatureType.MULTI_CATEGORICAL else words[0]
        return values

    @classmethod
    def from_json(cls, json: Sequence[dict[str, Any]], types: Mapping[str, FeatureType]) -> "Rows":
        """From golden rows."""
        return cls(
            count=len(json),
            types=types,
            numbers={name: _numbers(json, name) for name, kind in types.items() if kind.is_number},
            words={name: _words(json, name) for name, kind in types.items() if not kind.is_number},
        )

    def shuffled(self, feature: str, shuffle: Callable[[int], NDArray[np.int64]]) -> "Rows":
        """With the values of one feature dealt out anew."""
        order = shuffle(self.count)
        if self.types[feature].is_number:
            return Rows(self.count, self.types, {**self.numbers, feature: self.numbers[feature][order]}, self.words)
        return Rows(self.count, self.types, self.numbers, {**self.words, feature: self.words[feature].take(order)})


def _numbers(json: Sequence[dict[str, Any]], name: str) -> NDArray[np.float32]:
    return np.array([row.get(name, np.nan) for row in json], np.float32)


def _words(json: Sequence[dict[str, Any]], name: str) -> Words:
    values = [row.get(name, []) for row in json]
    return Words.from_lists([value] if isinstance(value, str) else value for value in values)
