"""Exponential decay, as in `components/core/src/decay.rs`."""

import sys


def factor(from_ms: int, to_ms: int, half_life_s: int) -> float:
    """What a weight given at `from_ms` is worth at `to_ms`: it halves every half-life."""
    try:
        return float(2.0 ** ((from_ms - to_ms) / (1000.0 * max(half_life_s, 1))))
    except OverflowError:
        # Finite, so that nothing times a long time ago is nothing.
        return sys.float_info.max
