"""Which columns a model of each kind is given, from what the training part holds."""

import numpy as np
from numpy.typing import NDArray

from . import limits, vocabulary
from .errors import InputError
from .features import Column, FeatureType, Input
from .log import Part
from .rows import Rows, Words


def deep(train: Part, options: vocabulary.Options) -> tuple[Input, ...]:
    """Numbers in `dense`, words in `ids`: the categorical columns first, then the multi-categorical ones."""
    rows = train.rows
    numbers = [_number(name, kind, rows) for name, kind in _numbers(rows)]
    single = [
        Column(name, kind, vocabulary=known)
        for name, kind, known in _vocabularies(rows, options)
        if kind is FeatureType.CATEGORICAL
    ]
    several = [
        Column(name, kind, vocabulary=known, length=_length(rows.words[name]))
        for name, kind, known in _vocabularies(rows, options)
        if kind is FeatureType.MULTI_CATEGORICAL
    ]
    inputs = (Input("dense", "float32", tuple(numbers)), Input("ids", "int64", (*single, *several)))
    return _checked(tuple(each for each in inputs if each.columns))


def trees(train: Part, labels: NDArray[np.float32], options: vocabulary.Options) -> tuple[Input, ...]:
    """Everything as numbers in one tensor, missing ones as NaN, which trees know.

    A categorical column has its vocabulary in the order of the mean label. A
    multi-categorical feature becomes one column for each of its frequent words, which
    says whether the item has it: a vocabulary of that word alone, and length 1.
    """
    rows = train.rows
    columns = [Column(name, kind) for name, kind in _numbers(rows)]
    for name, kind, known in _vocabularies(rows, options):
        if kind is FeatureType.CATEGORICAL:
            ordered = vocabulary.by_mean_label(rows.words[name], labels, options)
            columns += [Column(name, kind, vocabulary=ordered)] if ordered else []
        else:
            columns += [Column(name, kind, vocabulary=(word,)) for word in known[: _indicators(rows)]]
    return _checked((Input("features", "float32", tuple(columns)),) if columns else ())


def _indicators(rows: Rows) -> int:
    """Words of a multi-categorical feature that have columns of their own; fewer where there are many features."""
    several = sum(kind is FeatureType.MULTI_CATEGORICAL for kind in rows.types.values())
    return max(0, min(limits.INDICATOR_VALUES, (limits.COLUMNS - len(rows.types)) // several))


def _checked(inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    if not inputs:
        raise InputError("no feature varies in the rows of `train`; nothing can be learned")
    count = sum(len(each.columns) for each in inputs)
    if count > limits.COLUMNS:
        raise InputError(f"{count} features, more than the {limits.COLUMNS} columns that a model may have")
    return inputs


def _numbers(rows: Rows) -> list[tuple[str, FeatureType]]:
    """The numeric features that vary."""
    return [(name, kind) for name, kind in rows.types.items() if kind.is_number and _varies(rows.numbers[name])]


def _varies(values: NDArray[np.float32]) -> bool:
    present = values[~np.isnan(values)]
    return present.size > 0 and (present.size < values.size or present.min() < present.max())


def _vocabularies(rows: Rows, options: vocabulary.Options) -> list[tuple[str, FeatureType, tuple[str, ...]]]:
    """The categorical features of which some word is frequent enough."""
    found = (
        (name, kind, vocabulary.frequent(rows.words[name], options))
        for name, kind in rows.types.items()
        if not kind.is_number
    )
    return [each for each in found if each[2]]


def _number(name: str, kind: FeatureType, rows: Rows) -> Column:
    """Filled with the median, unless it was missing in training: then the graph is to see that it is."""
    values = rows.numbers[name]
    return Column(name, kind, missing=None if np.isnan(values).any() else float(np.median(values)))


def _length(words: Words) -> int:
    """Enough words for 99 of 100 rows."""
    return int(np.clip(np.quantile(words.counts, 0.99), 1, limits.MULTI_VALUES))
