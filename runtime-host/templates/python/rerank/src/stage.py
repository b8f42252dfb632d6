"""Lifts items of the categories that the user prefers."""

from collections.abc import Mapping, Sequence


def lift(
    scores: Sequence[float],
    categories: Sequence[int],
    preferred: Mapping[int, float],
    boost: float,
) -> list[tuple[int, float]]:
    """Every position of the list once, best first, with its new score.

    `categories[i]` is the category of the item in place `i`; `preferred` are categories
    and how much the user likes them, -1 to 1. The strongest preference lifts an item by
    `boost` parts of the distance from the best score to the worst.
    """
    span = max(scores, default=0.0) - min(scores, default=0.0)
    step = boost * (span or 1.0)
    lifted = [
        score + step * preferred.get(category, 0.0)
        for score, category in zip(scores, categories, strict=True)
    ]
    return sorted(enumerate(lifted), key=lambda place: -place[1])
