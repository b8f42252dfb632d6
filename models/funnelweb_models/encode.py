"""From rows to tensors: the format's own rules, the same that the sandbox follows.

>>> value_hash("music") == value_hash("#" + format(value_hash("music"), "08x"))
True
"""

import re
from collections.abc import Iterable

import numpy as np
import xxhash
from numpy.typing import NDArray

from .features import Column, Input
from .rows import Rows, Words

Tensors = dict[str, NDArray[np.float32] | NDArray[np.int64]]

_HASHED = re.compile(r"#[0-9a-fA-F]{8}")


def value_hash(value: str) -> int:
    """The hash that a word is known by: what `#` and eight hex digits say, else the low 32 bits of its XXH3.

    0 stands for a missing word, so no word has it.
    """
    if _HASHED.fullmatch(value):
        return max(int(value[1:], 16), 1)
    return max(xxhash.xxh3_64_intdigest(value.encode()) & 0xFFFF_FFFF, 1)


def tensors(inputs: Iterable[Input], rows: Rows) -> Tensors:
    """What the graph is given for these rows, by the name of the tensor."""
    return {each.tensor: tensor(each, rows) for each in inputs}


def tensor(given: Input, rows: Rows) -> NDArray[np.float32] | NDArray[np.int64]:
    """One input, `[rows, width]`."""
    values = np.empty((rows.count, given.width), given.element)
    at = 0
    for column in given.columns:
        values[:, at : at + column.width] = encoded(column, rows)
        at += column.width
    return values


def encoded(column: Column, rows: Rows) -> NDArray[np.float32] | NDArray[np.int64]:
    """One column, `[rows, width]`."""
    if column.type.is_number:
        values = rows.numbers[column.feature]
        if column.missing is not None:
            values = np.where(np.isnan(values), np.float32(column.missing), values)
        return values.reshape(-1, 1)
    return places(rows.words[column.feature], column.vocabulary, column.width)


def places(words: Words, vocabulary: tuple[str, ...], length: int) -> NDArray[np.int64]:
    """1 + the place of the first `length` known words of each row, then zeros."""
    place_of = {value_hash(value): place for place, value in reversed(list(enumerate(vocabulary, start=1)))}
    place_of_code = np.array([place_of.get(value_hash(word), 0) for word in words.distinct], np.int64)
    place = place_of_code[words.codes] if len(words.codes) else words.codes
    known = place > 0
    row = words.row_of_word[known]
    starts = np.searchsorted(row, np.arange(len(words.counts)))
    within = np.arange(len(row)) - starts[row]
    taken = within < length
    result = np.zeros((len(words.counts), length), np.int64)
    result[row[taken], within[taken]] = place[known][taken]
    return result
