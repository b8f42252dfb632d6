"""Which words a model knows, learned from the training part only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import limits
from .encode import value_hash
from .rows import Words

PRIOR_ROWS = 20
"""Rows at the overall mean that a word's own mean is smoothed with."""


@dataclass(frozen=True)
class Options:
    """How rare a word may be, and how many are kept."""

    count: int = limits.VOCABULARY_COUNT
    values: int = limits.VOCABULARY_VALUES


def frequent(words: Words, options: Options) -> tuple[str, ...]:
    """The words that occur often enough, most frequent first; ties by the word itself.

    Two words with one hash cannot be told apart when serving: the more frequent is kept.
    """
    counts = np.bincount(words.codes, minlength=len(words.distinct))
    kept = [code for code in range(len(words.distinct)) if counts[code] >= options.count]
    kept.sort(key=lambda code: (-counts[code], words.distinct[code]))
    by_hash: dict[int, str] = {}
    for code in kept:
        by_hash.setdefault(value_hash(words.distinct[code]), words.distinct[code])
    return tuple(by_hash.values())[: options.values]


def by_mean_label(words: Words, labels: NDArray[np.float32], options: Options) -> tuple[str, ...]:
    """The frequent words in the order of their mean label.

    A tree splits places by a threshold; in this order a threshold is the best split of
    the words into two sets (Fisher 1958; Breiman et al. 1984, theorem 4.5).
    """
    counts = np.bincount(words.codes, minlength=len(words.distinct))
    sums = np.bincount(words.codes, weights=labels[words.row_of_word], minlength=len(words.distinct))
    means = (sums + PRIOR_ROWS * labels.mean()) / (counts + PRIOR_ROWS)
    mean_of = dict(zip(words.distinct, means, strict=True))
    return tuple(sorted(frequent(words, options), key=lambda word: (mean_of[word], word)))
