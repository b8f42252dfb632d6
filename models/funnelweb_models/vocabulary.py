"""Which words a model knows, learned from the training part only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import limits
from .encode import value_hash
from .rows import Words


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
    """The words of enough rows in the order of their mean label, if those differ by more than luck.

    A tree splits places by a threshold; in this order a threshold is the best split of
    the words into two sets (Fisher 1958; Breiman et al. 1984, theorem 4.5). The order of
    a feature that says nothing would still tell the labels of the training rows, so such
    a feature keeps the order of frequency.
    """
    kept = frequent(words, Options(max(options.count, limits.TREE_VALUE_ROWS), options.values))
    counts = np.bincount(words.codes, minlength=len(words.distinct))
    sums = np.bincount(words.codes, weights=labels[words.row_of_word], minlength=len(words.distinct))
    code_of = {word: code for code, word in enumerate(words.distinct)}
    codes = [code_of[word] for word in kept]
    means = sums[codes] / counts[codes]
    if not _differ(means, counts[codes], labels):
        return kept
    mean_of = dict(zip(kept, means, strict=True))
    return tuple(sorted(kept, key=lambda word: (mean_of[word], word)))


def _differ(means: NDArray[np.float64], counts: NDArray[np.int64], labels: NDArray[np.float32]) -> bool:
    """Whether the means vary more than those of words that say nothing (two deviations of chi-square)."""
    distance = float(np.sum(counts * (means - labels.mean()) ** 2) / labels.var())
    return distance > len(means) + 2 * float(np.sqrt(2 * len(means)))
