"""Each kind and objective, from the log to the files, which hold what they say."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from funnelweb_models import (
    deep,
    encode,
    kinds,
    layout,
    limits,
    log,
    manifest,
    objective,
    scoring,
    training,
    trees,
    vocabulary,
)
from funnelweb_models.features import schema_hash
from funnelweb_models.rows import Rows

from . import synthetic
from .conftest import Make

KINDS = tuple(kinds.Kind)
ALL = [
    *((kind, "click_rate", False) for kind in KINDS),
    ("lightgbm", "watch_time", False),
    ("deepfm", "watch_time", False),
    ("wide_deep", "conversion", False),
    ("lightgbm", "click_rate", True),
    ("lightgbm", "watch_time", True),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_beats_the_linear_one_on_the_same_features(make: Make, kind: str) -> None:
    said = make(kind).json("metrics.json")
    assert said["test"]["auc"] > said["baseline"]["auc"] + 0.01
    assert said["test"]["log_loss"] < said["baseline"]["log_loss"]
    assert said["test"]["ndcg_at_10"] > said["baseline"]["ndcg_at_10"]
    assert said["test"]["calibration_error"] < 0.03


@pytest.mark.parametrize("kind", ["lightgbm", "deepfm"])
def test_an_amount_is_estimated_better_than_by_the_linear_model(make: Make, kind: str) -> None:
    said = make(kind, "watch_time").json("metrics.json")
    assert said["test"]["root_mean_square_error"] < said["baseline"]["root_mean_square_error"]
    assert said["test"]["ndcg_at_10"] > said["baseline"]["ndcg_at_10"]


@pytest.mark.parametrize("aim", ["click_rate", "watch_time"])
def test_lambdarank_orders_and_estimates_nothing(make: Make, aim: str) -> None:
    made = make("lightgbm", aim, True)
    said = made.json("metrics.json")
    assert said["test"]["ndcg_at_10"] > said["baseline"]["ndcg_at_10"]
    assert set(said["test"]) == {"auc", "ndcg_at_10"}
    assert manifest.read(made.onnx).is_order_only
    assert [node.op_type for node in onnx.load(made.onnx).graph.node] == ["TreeEnsembleRegressor", "Identity"]


@pytest.mark.parametrize(("kind", "aim", "lambdarank"), ALL)
def test_the_manifest_holds(make: Make, kind: str, aim: str, lambdarank: bool) -> None:
    made = make(kind, aim, lambdarank)
    beside = made.json("model.json")
    assert beside.pop("onnx_sha256") == hashlib.sha256(made.onnx.read_bytes()).hexdigest()
    model = onnx.load(made.onnx)
    assert [json.loads(entry.value) for entry in model.metadata_props] == [beside]
    said = manifest.Manifest.from_json(beside)
    assert said.to_json() == beside
    assert (beside["format"], beside["kind"], beside["objective"]) == (1, kind, aim)
    assert beside["schema_hash"] == schema_hash(said.inputs)
    shapes = {
        each.name: [axis.dim_param or axis.dim_value for axis in each.type.tensor_type.shape.dim]
        for each in model.graph.input
    }
    assert shapes == {each.tensor: ["N", each.width] for each in said.inputs}
    features = {column["feature"] for each in beside["inputs"] for column in each["columns"]}
    assert "item:constant" not in features
    assert "user:rare" not in features or kind != "lightgbm"


@pytest.mark.parametrize(("kind", "aim", "lambdarank"), ALL)
def test_the_golden_rows_are_reproduced_and_tell_something(make: Make, kind: str, aim: str, lambdarank: bool) -> None:
    said, session = scoring.opened(make(kind, aim, lambdarank).onnx)
    scores = session.score(Rows.from_json(said.golden_rows, said.types))
    np.testing.assert_allclose(scores, said.golden_scores, atol=1e-7)
    assert 8 < len(said.golden_rows) <= limits.GOLDEN_ROWS
    assert {} in said.golden_rows
    assert any("item:duration" not in row for row in said.golden_rows if row)
    assert any("item:duration" in row for row in said.golden_rows)
    assert any(len(row.get("item:tags", [])) > 1 for row in said.golden_rows)
    assert any(row.get("item:category", "").startswith("#") for row in said.golden_rows)
    assert len(set(said.golden_scores)) > len(said.golden_scores) // 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aim", ["click_rate", "watch_time"])
def test_the_graph_computes_what_the_trainer_does(tmp_path: Path, kind: kinds.Kind, aim: str) -> None:
    data = synthetic.written(synthetic.log(200), tmp_path / "log.parquet")
    whole, goal, options = log.read(data), objective.named(aim), vocabulary.Options()
    if kind is kinds.Kind.LIGHTGBM:
        inputs = layout.trees(whole.train, goal.labels(whole.train), options)
        trained = trees.train(whole, inputs, goal, False, 3)
    else:
        view = deep.View.learned(layout.deep(whole.train, options), whole.train)
        base = deep.linear.fitted(
            goal, *(view.example(part.rows, goal.labels(part)) for part in (whole.train, whole.valid))
        )
        trained = deep.train(kind, whole, view, base, goal, 3)
    session = scoring.Session(trained.graph.SerializeToString(), trained.inputs)
    ours = trained.score(encode.tensors(trained.inputs, whole.test.rows))
    np.testing.assert_allclose(session.score(whole.test.rows), ours, rtol=1e-5, atol=1e-5)


def test_one_seed_is_one_model(make: Make, log_path: Path, tmp_path: Path) -> None:
    settings = kinds.named("lightgbm"), objective.named("click_rate"), "lightgbm", "v1"
    training.train(log_path, training.Settings(*settings), tmp_path / "again")
    assert (tmp_path / "again" / "model.onnx").read_bytes() == make("lightgbm").onnx.read_bytes()
    training.train(log_path, training.Settings(*settings, seed=2), tmp_path / "other")
    assert (tmp_path / "other" / "model.onnx").read_bytes() != make("lightgbm").onnx.read_bytes()


def test_wide_and_deep_finds_the_cross(make: Make) -> None:
    page = (make("wide_deep").folder / "report.html").read_text()
    assert "item:category × user:segment" in page


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_is_one_file(make: Make, kind: str) -> None:
    page = (make(kind).folder / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "nan" not in page.lower().replace("finance", "")
    assert all(said not in page for said in ("<script", "src=", "href="))
