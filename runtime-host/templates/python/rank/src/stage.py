"""A weighted sum of the score of recall and two fields of the item."""

from collections.abc import Iterable
from math import isnan

Terms = Iterable[tuple[float, float]]


def weigh(items: Iterable[Terms]) -> list[float]:
    """A score for each item's terms: the sum of weight times value.

    A value that is missing (NaN) counts nothing.
    """
    return [sum(weight * value for weight, value in terms if not isnan(value)) for terms in items]
