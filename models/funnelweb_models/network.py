"""The deep rankers: what they compute, and the slopes of it.

Both are a sum of a linear part and a multilayer perceptron over embeddings and numbers:

- Wide&Deep (Cheng et al. 2016): the linear part also has crosses of two fields.
- DeepFM (Guo et al. 2017): a factorisation machine over the same embeddings is added;
  a number takes part with a vector of its own times its value.

The embedding of a multi-categorical field is the sum over its words. The slopes are
written out by hand: there are five parts, and `tests/test_network.py` compares each with
differences. That saves an install of 0.5 to 5 GB, see `models/README.md`.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .slots import Cross, Field, field_rows, live_rows, table_rows

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

DIMENSIONS = 16
"""Values of an embedding."""
HIDDEN = (128, 64)
"""Units of the perceptron's layers."""
EMBEDDING_DEVIATION = 0.05
"""Of the embeddings before training."""


@dataclass(frozen=True)
class Shape:
    """What a network is made of."""

    dense: int
    """Numbers in a row, after scaling."""
    fields: tuple[Field, ...]
    crosses: tuple[Cross, ...]
    factorised: bool
    """Has a factorisation machine: DeepFM."""

    @property
    def deep_width(self) -> int:
        """Values that the perceptron is given."""
        return len(self.fields) * DIMENSIONS + self.dense


@dataclass(frozen=True)
class Batch:
    """Rows as the network is given them."""

    dense: Floats
    rows: Ids
    """Rows of the embedding, by slot."""
    linear_rows: Ids
    """Rows of the linear table: the same and those of the crosses."""

    def take(self, rows: Ids) -> "Batch":
        """Some of the rows."""
        return Batch(self.dense[rows], self.rows[rows], self.linear_rows[rows])


@dataclass(frozen=True)
class SparseSlope:
    """The slope of a table of which only some rows were used."""

    rows: Ids
    values: Floats


Slopes = dict[str, Floats | SparseSlope]


def batch(shape: Shape, dense: Floats, ids: Ids) -> Batch:
    """From scaled numbers and the tensor of words."""
    rows = field_rows(shape.fields, ids)
    return Batch(dense, rows, np.concatenate([rows, *(cross.rows(ids) for cross in shape.crosses)], axis=1))


class Network:
    """Weights by name, and the two directions of computing with them."""

    def __init__(self, shape: Shape, bias: float, random: np.random.Generator) -> None:
        self.shape = shape
        widths = (shape.deep_width, *HIDDEN, 1)
        self.weights: dict[str, Floats] = {
            "bias": np.array([bias], np.float32),
            "linear": np.zeros((table_rows(shape.fields, shape.crosses), 1), np.float32),
            "dense_linear": np.zeros((shape.dense, 1), np.float32),
            "embedding": _normal(random, (table_rows(shape.fields), DIMENSIONS), EMBEDDING_DEVIATION),
        }
        if shape.factorised:
            self.weights["dense_factors"] = _normal(random, (shape.dense, DIMENSIONS), EMBEDDING_DEVIATION)
        for layer, (given, made) in enumerate(pairwise(widths)):
            self.weights[f"layer_{layer}"] = _normal(random, (given, made), np.sqrt(2 / given))
            self.weights[f"layer_bias_{layer}"] = np.zeros(made, np.float32)
        self.weights[f"layer_{len(HIDDEN)}"] *= 0.1
        self._live = {
            "embedding": live_rows(shape.fields)[:, None],
            "linear": live_rows(shape.fields, shape.crosses)[:, None],
        }
        for name, live in self._live.items():
            self.weights[name] *= live

    def raw(self, given: Batch) -> Floats:
        """The raw sum of each row."""
        return self.forward(given, [])[0]

    def forward(self, given: Batch, kept: list[Floats]) -> tuple[Floats, "_Trace"]:
        """The raw sums, and what the way back needs. `kept` scales the units of each hidden layer (dropout)."""
        weights = self.weights
        fields = self._pooled(weights["embedding"][given.rows])
        raw = weights["linear"][given.linear_rows, 0].sum(axis=1)
        raw += (given.dense @ weights["dense_linear"])[:, 0] + weights["bias"]
        everything = sums = None
        if self.shape.factorised:
            everything = np.concatenate((fields, given.dense[:, :, None] * weights["dense_factors"]), axis=1)
            sums = everything.sum(axis=1)
            raw += 0.5 * (sums**2 - (everything**2).sum(axis=1)).sum(axis=1)
        layers = [np.concatenate((fields.reshape(len(raw), -1), given.dense), axis=1)]
        for layer in range(len(HIDDEN)):
            units = np.maximum(layers[-1] @ weights[f"layer_{layer}"] + weights[f"layer_bias_{layer}"], 0)
            layers.append(units * kept[layer] if kept else units)
        last = len(HIDDEN)
        raw += (layers[-1] @ weights[f"layer_{last}"] + weights[f"layer_bias_{last}"])[:, 0]
        return raw, _Trace(given, everything, sums, layers, kept)

    def backward(self, trace: "_Trace", slope: Floats) -> Slopes:
        """The slope of the loss by every weight, from that by the raw sums."""
        given = trace.given
        slopes: Slopes = {
            "bias": slope.sum(keepdims=True),
            "dense_linear": given.dense.T @ slope[:, None],
        }
        per_slot = np.broadcast_to(slope[:, None, None], (*given.linear_rows.shape, 1))
        slopes["linear"] = self._sparse("linear", given.linear_rows, per_slot)
        by_fields = self._backward_perceptron(trace, slope, slopes)
        if trace.everything is not None and trace.sums is not None:
            by_factors = slope[:, None, None] * (trace.sums[:, None, :] - trace.everything)
            count = len(self.shape.fields)
            by_fields = by_fields + by_factors[:, :count]
            slopes["dense_factors"] = np.einsum("nm,nmd->md", given.dense, by_factors[:, count:])
        per_slot = np.repeat(by_fields, [field.width for field in self.shape.fields], axis=1)
        slopes["embedding"] = self._sparse("embedding", given.rows, per_slot)
        return slopes

    def _backward_perceptron(self, trace: "_Trace", slope: Floats, slopes: Slopes) -> Floats:
        """Adds the slopes of the layers; gives that of the fields."""
        by_output = slope[:, None]
        for layer in range(len(HIDDEN), -1, -1):
            slopes[f"layer_{layer}"] = trace.layers[layer].T @ by_output
            slopes[f"layer_bias_{layer}"] = by_output.sum(axis=0)
            by_output = by_output @ self.weights[f"layer_{layer}"].T
            if layer:
                by_output = by_output * (trace.layers[layer] > 0)
                if trace.kept:
                    by_output = by_output * trace.kept[layer - 1]
        count = len(self.shape.fields)
        return by_output[:, : count * DIMENSIONS].reshape(-1, count, DIMENSIONS)

    def _pooled(self, by_slot: Floats) -> Floats:
        """The sum over the slots of each field."""
        fields = self.shape.fields
        if all(field.width == 1 for field in fields):
            return by_slot
        return np.add.reduceat(by_slot, [field.slot for field in fields], axis=1)

    def _sparse(self, name: str, rows: Ids, values: Floats) -> SparseSlope:
        """The slopes of one table, added up by row; rows that stay 0 have none."""
        used, place = np.unique(rows, return_inverse=True)
        flat = values.reshape(rows.size, values.shape[-1])
        order = np.argsort(place.ravel(), kind="stable")
        starts = np.searchsorted(place.ravel()[order], np.arange(len(used)))
        sums = np.add.reduceat(flat[order], starts, axis=0) if rows.size else flat
        return SparseSlope(used, sums * self._live[name][used])


@dataclass(frozen=True)
class _Trace:
    """What the way back needs of the way there."""

    given: Batch
    everything: Floats | None
    sums: Floats | None
    layers: list[Floats]
    kept: list[Floats]


def _normal(random: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Floats:
    return (random.standard_normal(shape, np.float32) * np.float32(deviation)).astype(np.float32)
