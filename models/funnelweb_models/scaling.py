"""How numbers are brought to one size, as constants of the graph.

A long-tailed number (a count) goes through `sign(x) log(1 + |x|)` first; then the mean is
taken away, the result divided by the deviation and clipped, so that no single value can
throw a score. A number that was missing in training has a second value that says so.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .features import Input
from .graph import Graph

Floats = NDArray[np.float32]

LONG_TAIL = 8.0
"""Deviations from the mean beyond which the largest value makes a number long-tailed."""
CLIP = 6.0
"""Deviations at which a scaled number is cut."""


@dataclass(frozen=True)
class Scaling:
    """By column of `dense`."""

    fill: Floats
    """What stands for NaN."""
    long_tailed: NDArray[np.bool_]
    mean: Floats
    inverse_deviation: Floats
    flagged: NDArray[np.int64]
    """The columns whose missing values are flagged."""

    @property
    def width(self) -> int:
        """Values in a row after scaling."""
        return len(self.fill) + len(self.flagged)

    def apply(self, dense: Floats) -> Floats:
        """Scaled numbers, then the flags."""
        missing = np.isnan(dense)
        values = _tamed(np.where(missing, self.fill, dense), self.long_tailed)
        scaled = np.clip((values - self.mean) * self.inverse_deviation, -CLIP, CLIP)
        return np.concatenate((scaled, missing[:, self.flagged]), axis=1, dtype=np.float32)

    def write(self, graph: Graph, dense: str) -> str:
        """The same in a graph."""
        flags = None
        if len(self.flagged):
            missing = graph.node("IsNaN", [dense])
            dense = graph.node("Where", [missing, graph.constant("fill", self.fill[None]), dense])
            flags = graph.node("Cast", [missing], to=1)
            flags = graph.node("Gather", [flags, graph.constant("flagged", self.flagged)], axis=1)
        if self.long_tailed.any():
            dense = self._write_long_tails(graph, dense)
        centred = graph.node("Sub", [dense, graph.constant("mean", self.mean[None])])
        scaled = graph.node("Mul", [centred, graph.constant("inverse_deviation", self.inverse_deviation[None])])
        lowest, highest = (graph.constant(name, np.float32(at)) for name, at in (("lowest", -CLIP), ("highest", CLIP)))
        clipped = graph.node("Clip", [scaled, lowest, highest])
        return clipped if flags is None else graph.node("Concat", [clipped, flags], axis=1)

    def _write_long_tails(self, graph: Graph, dense: str) -> str:
        size = graph.node("Add", [graph.node("Abs", [dense]), graph.constant("one", np.float32(1))])
        tamed = graph.node("Mul", [graph.node("Sign", [dense]), graph.node("Log", [size])])
        chosen = graph.constant("long_tailed", self.long_tailed[None])
        return graph.node("Where", [chosen, tamed, dense])


def learned(given: Input, dense: Floats) -> Scaling:
    """From the training part."""
    fill = np.nanmedian(dense, axis=0).astype(np.float32)
    missing = np.isnan(dense)
    filled = np.where(missing, fill, dense)
    deviation = np.maximum(filled.std(axis=0), 1e-9)
    long_tailed = np.abs(filled - filled.mean(axis=0)).max(axis=0) > LONG_TAIL * deviation
    tamed = _tamed(filled, long_tailed)
    deviation = tamed.std(axis=0, dtype=np.float64)
    return Scaling(
        fill=fill,
        long_tailed=long_tailed,
        mean=tamed.mean(axis=0, dtype=np.float64).astype(np.float32),
        inverse_deviation=np.where(deviation > 1e-9, 1 / np.maximum(deviation, 1e-9), 0).astype(np.float32),
        flagged=np.array([at for at, column in enumerate(given.columns) if column.missing is None], np.int64),
    )


def _tamed(values: Floats, long_tailed: NDArray[np.bool_]) -> Floats:
    tamed = np.sign(values) * np.log1p(np.abs(values))
    return np.where(long_tailed, tamed, values).astype(np.float32)
