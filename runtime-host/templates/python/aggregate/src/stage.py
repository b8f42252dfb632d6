"""How often an item is consumed to its end."""

from collections.abc import Iterable

# What counts as the end.
END = 0.95


def finished(parts: Iterable[float]) -> int:
    """How many of these parts of an item, where 1 is all of it, reach the end."""
    return sum(part >= END for part in parts)


def write(count: int) -> bytes:
    """An accumulator is a count."""
    return count.to_bytes(8, "little")


def read(accumulator: bytes) -> int:
    if len(accumulator) != 8:
        raise ValueError(f"an accumulator of {len(accumulator)} bytes")
    return int.from_bytes(accumulator, "little")
