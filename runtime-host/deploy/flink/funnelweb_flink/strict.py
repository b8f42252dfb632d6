"""JSON as the host reads it: UTF-8, and no numbers that an f64 does not hold."""

import json
import math
from typing import Any


def parse(text: str | bytes) -> Any:
    """Raises `ValueError` for all that is not JSON, however deep."""
    if isinstance(text, bytes):
        text = text.decode()
    try:
        return json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_float)
    except RecursionError:
        raise ValueError("it is too deep") from None


def _integer(text: str) -> int:
    # As a number of its length at most: longer ones take long to read.
    return int(text) if len(text) <= 20 else int(_float(text))


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"no number is {text[:20]}")
    return number
