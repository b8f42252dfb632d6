"""How good a score is: order, loss and calibration.

All take plain arrays; `groups` is the request of each row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from .objective import Objective

Floats = NDArray[np.floating]
TOP = 10
"""Places of a slate that NDCG looks at."""
BINS = 10
"""Bins of calibration, each with as many rows."""


@dataclass(frozen=True)
class Bin:
    """One bin of calibration: rows with like scores."""

    rows: int
    predicted: float
    observed: float


def auc(scores: Floats, labels: Floats) -> float | None:
    """The chance that a positive row scores above a negative one, ties as half; none without both."""
    positive = labels > 0
    count = int(positive.sum())
    if count in (0, len(labels)):
        return None
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(labels) - count)))


def log_loss(scores: Floats, labels: Floats) -> float:
    """The mean negative log-likelihood of labels 0 and 1."""
    sure = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(sure) + (1 - labels) * np.log(1 - sure)))


def ndcg(scores: Floats, labels: Floats, groups: NDArray[np.int64]) -> float | None:
    """NDCG at 10, the label as the gain, averaged over the requests with a positive label.

    Rows with one score share the discounts of their places, so that the order of the file
    does not count.
    """
    order = np.lexsort((-scores, groups))
    bounds = np.flatnonzero(np.diff(groups[order])) + 1
    slates = np.split(order, bounds)
    values = [_ndcg_of(scores[slate], labels[slate]) for slate in slates if labels[slate].max() > 0]
    return float(np.mean(values)) if values else None


def _ndcg_of(scores: Floats, labels: Floats) -> float:
    """Of one slate in the order of its scores."""
    discounts = np.zeros(len(labels))
    discounts[:TOP] = 1 / np.log2(np.arange(2, min(len(labels), TOP) + 2))
    ideal = np.sort(labels)[::-1] @ discounts
    _, tie = np.unique(-scores, return_inverse=True)
    shared = np.bincount(tie, weights=discounts) / np.bincount(tie)
    return float(labels @ shared[tie] / ideal)


def calibration(scores: Floats, labels: Floats) -> list[Bin]:
    """The mean score and the mean label of rows with like scores, lowest first."""
    order = np.argsort(scores, kind="stable")
    return [
        Bin(len(rows), float(scores[rows].mean()), float(labels[rows].mean()))
        for rows in np.array_split(order, min(BINS, len(order)))
    ]


def calibration_error(bins: list[Bin]) -> float:
    """ECE: the mean distance of score and label over the bins (Naeini et al. 2015)."""
    rows = sum(each.rows for each in bins)
    return sum(each.rows * abs(each.predicted - each.observed) for each in bins) / rows


def measured(
    objective: Objective, order_only: bool, scores: Floats, labels: Floats, groups: NDArray[np.int64]
) -> dict[str, float]:
    """All metrics that the objective has; a score that is an order only has no loss and no calibration."""
    values: dict[str, float | None] = {"auc": auc(scores, labels), "ndcg_at_10": ndcg(scores, labels, groups)}
    if not order_only:
        values["calibration_error"] = calibration_error(calibration(scores, labels))
        if objective.is_probability:
            values["log_loss"] = log_loss(scores, labels)
        else:
            values["mean_absolute_error"] = float(np.mean(np.abs(scores - labels)))
            values["root_mean_square_error"] = float(np.sqrt(np.mean((scores - labels) ** 2)))
    return {name: value for name, value in values.items() if value is not None}
