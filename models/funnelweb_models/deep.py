"""Trains the deep rankers and their linear baseline, which share how they see a row."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from . import deep_graph, limits, linear, network, scaling, slots
from .adam import Adam
from .encode import Tensors, tensors
from .features import Input
from .kinds import Kind, Round, Trained
from .log import Log, Part
from .network import Batch, Network, Shape
from .objective import Objective
from .rows import Rows

Floats = NDArray[np.float32]

BATCH_ROWS = 512
ROUND_ROWS = 200_000
"""Rows between two looks at `valid`, at most."""
SCORE_ROWS = 8192
"""Rows that are scored at once."""
RATE = 2e-3
RATE_DECAY = 0.4
"""What the rate is multiplied by after a round that was no better."""
PATIENCE_ROUNDS = 3
DROPOUT = 0.2
DECAY = {"embedding": 3e-3, "linear": 3e-3, "dense_factors": 1e-5, "layer_0": 1e-5, "layer_1": 1e-5}


@dataclass(frozen=True)
class View:
    """How deep and linear models see a row."""

    inputs: tuple[Input, ...]
    scaling: scaling.Scaling | None
    fields: tuple[slots.Field, ...]

    @classmethod
    def learned(cls, inputs: tuple[Input, ...], train: Part) -> "View":
        """From the training part."""
        by_name = {each.tensor: each for each in inputs}
        given = tensors(inputs, train.rows)
        dense = by_name.get("dense")
        return cls(
            inputs=inputs,
            scaling=scaling.learned(dense, given["dense"].astype(np.float32)) if dense else None,
            fields=slots.fields(by_name.get("ids")),
        )

    @property
    def dense_width(self) -> int:
        """Numbers in a row, after scaling."""
        return self.scaling.width if self.scaling else 0

    def split(self, given: Tensors) -> tuple[Floats, NDArray[np.int64]]:
        """Scaled numbers and ids, `[N, 0]` where there are none."""
        count = len(next(iter(given.values())))
        dense = np.zeros((count, 0), np.float32)
        if self.scaling:
            dense = self.scaling.apply(given["dense"].astype(np.float32))
        return dense, given["ids"].astype(np.int64) if self.fields else np.zeros((count, 0), np.int64)

    def example(self, rows: Rows, labels: Floats) -> linear.Example:
        """Rows for the linear model."""
        dense, ids = self.split(tensors(self.inputs, rows))
        return linear.Example.of(self.fields, dense, slots.field_rows(self.fields, ids), labels)


def train(kind: Kind, log: Log, view: View, baseline: linear.Linear, objective: Objective, seed: int) -> Trained:
    """Trains with early stopping on `valid`; the best weights seen there are kept."""
    random = np.random.default_rng(seed)
    scale = objective.scale(objective.labels(log.train))
    dense, ids = view.split(tensors(view.inputs, log.train.rows))
    labels = objective.labels(log.train) / np.float32(scale)
    crosses = _crosses(kind, view, ids, log.train, baseline, objective)
    shape = Shape(view.dense_width, view.fields, crosses, factorised=kind is Kind.DEEPFM)
    model = Network(shape, objective.raw(float(labels.mean())), random)
    valid = network.batch(shape, *view.split(tensors(view.inputs, log.valid.rows)))
    valid_labels = objective.labels(log.valid) / np.float32(scale)
    with threadpool_limits(1):  # the matrices are small: threads would wait for each other more than compute
        rounds = _fit(model, objective, network.batch(shape, dense, ids), labels, valid, valid_labels, random)
    model.weights["bias"] += np.float32(np.log(scale))
    return Trained(
        inputs=view.inputs,
        graph=deep_graph.graph(kind.value, view.inputs, view.scaling, model, objective),
        score=lambda given: objective.mean(_raw(model, network.batch(shape, *view.split(given)))),
        rounds=rounds,
        loss_name="log-loss" if objective.is_probability else "Poisson deviance, up to a constant",
        notes=_notes(shape, view),
    )


def _crosses(
    kind: Kind, view: View, ids: NDArray[np.int64], train: Part, baseline: linear.Linear, objective: Objective
) -> tuple[slots.Cross, ...]:
    """Those that explain what the baseline leaves over; Wide&Deep only."""
    if kind is not Kind.WIDE_DEEP:
        return ()
    labels = objective.labels(train)
    estimate = objective.mean(baseline.raw(view.example(train.rows, labels)))
    return slots.chosen_crosses(view.fields, ids, (labels - estimate) / np.float32(objective.scale(labels)))


def _fit(
    model: Network,
    objective: Objective,
    given: Batch,
    labels: Floats,
    valid: Batch,
    valid_labels: Floats,
    random: np.random.Generator,
) -> list[Round]:
    """Rounds until `valid` no longer gets better."""
    adam = Adam(model.weights, DECAY)
    rate = RATE
    best = np.inf
    kept: dict[str, Floats] = {}
    rounds: list[Round] = []
    worse = 0
    for rows in _rounds(len(labels), random):
        loss = _fit_round(model, adam, objective, given, labels, rows, rate, random)
        on_valid = objective.loss(_raw(model, valid), valid_labels)
        rounds.append(Round(len(rounds) + 1, loss, on_valid))
        if on_valid < best:
            best, worse = on_valid, 0
            kept = {name: values.copy() for name, values in model.weights.items()}
        else:
            worse += 1
            rate *= RATE_DECAY
            if worse == PATIENCE_ROUNDS:
                break
    for name, values in kept.items():
        model.weights[name][:] = values
    return rounds


def _rounds(count: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """The rows of each round, every epoch in a new order."""
    for _ in range(limits.EPOCHS):
        order = random.permutation(count)
        yield from np.array_split(order, -(-count // ROUND_ROWS))


def _fit_round(
    model: Network,
    adam: Adam,
    objective: Objective,
    given: Batch,
    labels: Floats,
    rows: NDArray[np.int64],
    rate: float,
    random: np.random.Generator,
) -> float:
    """One step of Adam for each batch; gives the mean loss on the way, dropout and all."""
    losses = []
    for at in range(0, len(rows), BATCH_ROWS):
        chosen = rows[at : at + BATCH_ROWS]
        raw, trace = model.forward(given.take(chosen), _kept_units(len(chosen), random))
        losses.append(objective.loss(raw, labels[chosen]) * len(chosen))
        slope = (objective.mean(raw) - labels[chosen]) / np.float32(len(chosen))
        adam.step(model.backward(trace, slope), rate)
    return sum(losses) / len(rows)


def _kept_units(count: int, random: np.random.Generator) -> list[Floats]:
    """For each hidden layer what its units are multiplied by: 0 for those left out."""
    keep = np.float32(1 / (1 - DROPOUT))
    return [(random.random((count, units), np.float32) >= DROPOUT) * keep for units in network.HIDDEN]


def _raw(model: Network, given: Batch) -> Floats:
    starts = range(0, len(given.rows), SCORE_ROWS)
    return np.concatenate([model.raw(given.take(np.arange(len(given.rows))[at : at + SCORE_ROWS])) for at in starts])


def _notes(shape: Shape, view: View) -> list[str]:
    notes = [
        f"{len(shape.fields)} fields of words in embeddings of {network.DIMENSIONS}, {shape.dense} numbers, "
        f"a perceptron of {' and '.join(map(str, network.HIDDEN))} units."
    ]
    if shape.crosses:
        pairs = ", ".join(f"{cross.first.feature} × {cross.second.feature}" for cross in shape.crosses)
        notes.append(f"Crosses in the wide part: {pairs}.")
    if view.scaling and view.scaling.long_tailed.any():
        columns = next(each for each in view.inputs if each.tensor == "dense").columns
        tamed = (column.feature for column, long in zip(columns, view.scaling.long_tailed, strict=True) if long)
        notes.append(f"Numbers with a long tail, by their logarithm: {', '.join(tamed)}.")
    return notes
