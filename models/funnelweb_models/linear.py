"""The baseline: a linear model on the same features, fitted to the end.

Logistic regression for a probability, Poisson regression for an amount, by L-BFGS; the
penalty is chosen on `valid`. A model that does not beat it is not worth its upkeep.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from .objective import Objective
from .slots import Field, live_rows

Floats = NDArray[np.float32]

PENALTIES = (1.0, 10.0, 100.0)
"""Weights of half the square of the coefficients, against the sum of the loss over all rows."""


@dataclass(frozen=True)
class Example:
    """Rows as a linear model is given them: scaled numbers and a column for each word."""

    columns: sparse.csr_matrix
    labels: Floats

    @classmethod
    def of(cls, fields: tuple[Field, ...], dense: Floats, rows: NDArray[np.int64], labels: Floats) -> "Example":
        """`rows` are those of the words' table."""
        live = live_rows(fields)
        counts = np.full(len(dense), rows.shape[1])
        pointers = np.concatenate(([0], np.cumsum(counts)))
        words = sparse.csr_matrix(
            (live[rows.ravel()].astype(np.float64), rows.ravel(), pointers), shape=(len(dense), len(live))
        )
        return cls(sparse.hstack([sparse.csr_matrix(dense, dtype=np.float64), words], format="csr"), labels)


@dataclass(frozen=True)
class Linear:
    """A fitted model."""

    coefficients: NDArray[np.float64]
    bias: float

    def raw(self, example: Example) -> Floats:
        """The raw sum of each row."""
        return np.asarray(example.columns @ self.coefficients + self.bias, np.float32)


def fitted(objective: Objective, train: Example, valid: Example) -> Linear:
    """The one of the penalties that does best on `valid`."""
    models = [_fitted(objective, train, penalty) for penalty in PENALTIES]
    return min(models, key=lambda model: objective.loss(model.raw(valid), valid.labels))


def _fitted(objective: Objective, train: Example, penalty: float) -> Linear:
    columns, labels, count = train.columns, train.labels.astype(np.float64), len(train.labels)

    def loss_and_slope(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        coefficients = at[:-1]
        raw = columns @ coefficients + at[-1]
        loss = objective.loss(raw, labels) + 0.5 * penalty / count * float(coefficients @ coefficients)
        by_raw = (objective.mean(raw) - labels) / count
        slope = columns.T @ by_raw + penalty / count * coefficients
        return loss, np.append(slope, by_raw.sum())

    start = np.append(np.zeros(columns.shape[1]), objective.raw(float(labels.mean())))
    found = optimize.minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    return Linear(found[:-1], float(found[-1]))
