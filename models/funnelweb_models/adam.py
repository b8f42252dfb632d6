"""Adam (Kingma & Ba 2015); of a table only the rows that a batch used are moved."""

import numpy as np
from numpy.typing import NDArray

from .network import Slopes, SparseSlope

Floats = NDArray[np.float32]

_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


class Adam:
    """Moves weights against their slopes."""

    def __init__(self, weights: dict[str, Floats], decay: dict[str, float]) -> None:
        """`decay` is the weight of half the square of the weights in the loss, by name."""
        self._weights = weights
        self._decay = decay
        self._first = {name: np.zeros_like(values) for name, values in weights.items()}
        self._second = {name: np.zeros_like(values) for name, values in weights.items()}
        self._step = 0

    def step(self, slopes: Slopes, rate: float) -> None:
        """One step of size `rate`."""
        self._step += 1
        rate *= np.sqrt(1 - _SECOND**self._step) / (1 - _FIRST**self._step)
        for name, slope in slopes.items():
            if isinstance(slope, SparseSlope):
                self._move(name, slope.rows, slope.values, rate)
            else:
                self._move(name, slice(None), slope, rate)

    def _move(self, name: str, rows: NDArray[np.int64] | slice, slope: Floats, rate: float) -> None:
        weights = self._weights[name]
        slope = slope + self._decay.get(name, 0.0) * weights[rows]
        first = _FIRST * self._first[name][rows] + (1 - _FIRST) * slope
        second = _SECOND * self._second[name][rows] + (1 - _SECOND) * slope * slope
        self._first[name][rows], self._second[name][rows] = first, second
        weights[rows] -= np.float32(rate) * first / (np.sqrt(second) + _TINY)
