"""Hot items of the categories that the user likes most."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple


class Hot(NamedTuple):
    """An item with its heat and its category."""

    handle: int
    heat: float
    category: int


def pick(
    items: Sequence[Hot], liked: Mapping[int, float], exclude: Collection[int], limit: int
) -> list[tuple[int, float]]:
    """The items of the categories that are liked with their scores, best first.

    A score is the share that an item has of the greatest heat, times how much the user
    likes its category: above 0, at most 1.
    """
    most = max((item.heat for item in items), default=0.0)
    scored = [
        (item.handle, item.heat / most * liked[item.category])
        for item in items
        if item.heat > 0.0 and item.category in liked and item.handle not in exclude
    ]
    return sorted(scored, key=lambda place: -place[1])[:limit]
