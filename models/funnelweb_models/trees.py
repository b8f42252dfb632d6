"""LightGBM, and its trees as one ONNX `TreeEnsembleRegressor`.

The node is written from LightGBM's own dump. LightGBM compares in float64, ONNX in
float32: each threshold is rounded down to the largest float32 not above it, so that every
float32 value goes the way it went in training.
"""

import os
from collections import defaultdict
from typing import Any

import lightgbm
import numpy as np
import onnx
from numpy.typing import NDArray

from . import limits
from .encode import tensors
from .errors import InputError
from .features import Input
from .graph import Graph
from .kinds import Round, Trained
from .log import Log, Part
from .objective import Objective

GRADES = 4
"""Grades above 0 that an amount is given for lambdarank."""
NDCG_AT = 10
PATIENCE_ROUNDS = 30
THREAD_ROWS = 200_000
"""Rows for which one more thread is worth its while."""

_PARAMETERS = {
    "learning_rate": 0.06,
    "num_leaves": 31,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


def train(log: Log, inputs: tuple[Input, ...], objective: Objective, lambdarank: bool, seed: int) -> Trained:
    """Trains with early stopping on `valid`."""
    rounds: dict[str, dict[str, list[float]]] = {}
    scale = 1.0 if lambdarank else objective.scale(objective.labels(log.train))
    sets = [_data_set(part, inputs, objective, lambdarank, scale, log.train) for part in (log.train, log.valid)]
    booster = lightgbm.train(
        _PARAMETERS
        | _objective_parameters(objective, lambdarank)
        | {"seed": seed, "num_threads": _threads(log.train.rows.count)},
        sets[0],
        num_boost_round=limits.TREES,
        valid_sets=sets,
        valid_names=["train", "valid"],
        callbacks=[
            lightgbm.early_stopping(PATIENCE_ROUNDS, verbose=False),
            lightgbm.record_evaluation(rounds),
        ],
    )
    link = None if lambdarank else objective
    kept = booster.num_trees() if booster.best_iteration <= 0 else booster.best_iteration
    shift = 0.0 if link is None or link.is_probability else float(np.log(scale))
    loss_name = next(iter(rounds["valid"]))
    return Trained(
        inputs=inputs,
        graph=graph(booster.dump_model(num_iteration=kept)["tree_info"], inputs[0], link, shift),
        score=lambda given: _scores(booster, given["features"], kept, link, shift),
        rounds=[
            Round(step, *losses)
            for step, losses in enumerate(zip(rounds["train"][loss_name], rounds["valid"][loss_name], strict=True), 1)
        ],
        loss_name=loss_name,
        notes=[f"{kept} trees of at most {_PARAMETERS['num_leaves']} leaves."],
    )


def graph(trees: list[dict[str, Any]], given: Input, link: Objective | None, shift: float) -> onnx.ModelProto:
    """The trees, and the link after them where the score is an estimate."""
    result = Graph("lightgbm")
    features = result.input(given.tensor, given.element, given.width)
    value = result.node(
        "TreeEnsembleRegressor",
        [features],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=[shift],
        **_nodes(trees),
    )
    if link is not None:
        value = result.node("Sigmoid" if link.is_probability else "Exp", [value])
    result.output("score", value)
    return result.model()


def float32_not_above(threshold: float) -> float:
    """The largest float32 not above a float64."""
    with np.errstate(over="ignore"):
        rounded = np.float32(threshold)
    if float(rounded) > threshold:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return float(rounded)


def grades(labels: NDArray[np.float32], train_labels: NDArray[np.float32]) -> NDArray[np.int32]:
    """Labels as the whole numbers that lambdarank wants: amounts by the quantiles of those seen in training."""
    if set(np.unique(train_labels)) <= {0.0, 1.0}:
        return labels.astype(np.int32)
    edges = np.quantile(train_labels[train_labels > 0], np.arange(1, GRADES) / GRADES)
    return np.where(labels > 0, 1 + np.searchsorted(edges, labels, side="right"), 0).astype(np.int32)


def _threads(rows: int) -> int:
    """With few rows threads wait for each other more than they compute."""
    return max(1, min(os.cpu_count() or 1, rows // THREAD_ROWS))


def _objective_parameters(objective: Objective, lambdarank: bool) -> dict[str, Any]:
    if lambdarank:
        return {"objective": "lambdarank", "metric": "ndcg", "eval_at": [NDCG_AT]}
    if objective.is_probability:
        return {"objective": "binary", "metric": "binary_logloss"}
    return {"objective": "poisson", "metric": "poisson"}


def _data_set(
    part: Part, inputs: tuple[Input, ...], objective: Objective, lambdarank: bool, scale: float, train: Part
) -> lightgbm.Dataset:
    features = tensors(inputs, part.rows)["features"]
    labels = objective.labels(part)
    if not lambdarank:
        return lightgbm.Dataset(features, labels / scale, free_raw_data=False)
    order = np.argsort(part.requests, kind="stable")
    sizes = np.unique(part.requests, return_counts=True)[1]
    if sizes.max() > 10_000:
        raise InputError(f"column `request_id`: a request has {sizes.max()} rows; lambdarank takes at most 10000")
    graded = grades(labels, objective.labels(train))
    return lightgbm.Dataset(features[order], graded[order], group=sizes, free_raw_data=False)


def _scores(
    booster: lightgbm.Booster, features: NDArray[Any], kept: int, link: Objective | None, shift: float
) -> NDArray[np.float32]:
    raw = np.asarray(booster.predict(features, num_iteration=kept, raw_score=True)) + shift
    return (raw if link is None else link.mean(raw)).astype(np.float32)


def _nodes(trees: list[dict[str, Any]]) -> dict[str, Any]:
    """The attributes of the operator, each a list over all nodes or all leaves."""
    columns: dict[str, list[Any]] = defaultdict(list)
    for number, tree in enumerate(trees):
        _add_tree(columns, number, tree["tree_structure"])
    return dict(columns)


def _add_tree(columns: dict[str, list[Any]], tree: int, root: dict[str, Any]) -> None:
    """Numbers the nodes from the root down and writes each once."""
    waiting = [(0, root)]
    count = 1
    while waiting:
        number, node = waiting.pop()
        children = (0, 0)
        if "split_feature" in node:
            children = (count, count + 1)
            count += 2
            waiting += [(children[1], node["right_child"]), (children[0], node["left_child"])]
        else:
            _add_leaf(columns, tree, number, node["leaf_value"])
        _add_node(columns, tree, number, node, children)


def _add_leaf(columns: dict[str, list[Any]], tree: int, number: int, weight: float) -> None:
    for name, value in (("treeids", tree), ("nodeids", number), ("ids", 0), ("weights", weight)):
        columns[f"target_{name}"].append(value)


def _add_node(
    columns: dict[str, list[Any]], tree: int, number: int, node: dict[str, Any], children: tuple[int, int]
) -> None:
    is_split = "split_feature" in node
    values = {
        "treeids": tree,
        "nodeids": number,
        "featureids": node["split_feature"] if is_split else 0,
        "values": float32_not_above(node["threshold"]) if is_split else 0.0,
        "modes": "BRANCH_LEQ" if is_split else "LEAF",
        "truenodeids": children[0],
        "falsenodeids": children[1],
        "missing_value_tracks_true": int(is_split and _missing_goes_left(node)),
    }
    for name, value in values.items():
        columns[f"nodes_{name}"].append(value)


def _missing_goes_left(node: dict[str, Any]) -> bool:
    """Where training saw no missing value LightGBM takes one for 0."""
    if node["missing_type"] == "NaN":
        return bool(node["default_left"])
    return bool(node["threshold"] >= 0)
