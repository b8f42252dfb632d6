"""Scores rows by a written model, in onnxruntime: what the sandbox is to reproduce."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from . import log, manifest, metrics, objective, push
from .encode import Tensors, tensors
from .errors import InputError
from .features import FeatureType, Input
from .rows import Rows

BATCH_ROWS = 8192


class Session:
    """A model that is ready to score."""

    def __init__(self, onnx_bytes: bytes, inputs: tuple[Input, ...]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
        self._inputs = inputs

    def score(self, rows: Rows) -> NDArray[np.float32]:
        """The score of each row."""
        return self.score_tensors(tensors(self._inputs, rows), rows.count)

    def score_tensors(self, given: Tensors, count: int) -> NDArray[np.float32]:
        """The score of each row of the tensors."""
        scores = [
            self._session.run(
                [manifest.OUTPUT], {name: values[at : at + BATCH_ROWS] for name, values in given.items()}
            )[0].reshape(-1)
            for at in range(0, count, BATCH_ROWS)
        ]
        return np.concatenate([np.zeros(0, np.float32), *scores])


def opened(path: Path) -> tuple[manifest.Manifest, Session]:
    """A written model."""
    said = manifest.read(path)
    return said, Session(path.read_bytes(), said.inputs)


def predict(data: Path, model: Path, out: Path) -> int:
    """Writes `request_id`, `item_id` and `score` of every row of a log; gives their number."""
    said, session = opened(model)
    table = log.open_table(data)
    scores = session.score(_rows(table, data, said))
    kept = [name for name in ("request_id", "item_id") if name in table.column_names]
    pq.write_table(table.select(kept).append_column("score", pa.array(scores)), out)
    return len(scores)


def evaluate(data: Path, model: Path, split: str, server: push.Server | None = None) -> dict[str, float]:
    """The metrics of a written model on one part of a log, as scored here or by a server that has it."""
    if split not in log.SPLITS:
        raise InputError(f"split {split!r} is none of: {', '.join(log.SPLITS)}")
    said, session = opened(model)
    aim = objective.named(said.objective)
    whole = log.read(data)
    _check_features(said, whole.types)
    part = whole.parts[split]
    if server is None:
        scores = session.score(part.rows)
    else:
        read = Rows(part.rows.count, said.types, part.rows.numbers, part.rows.words)
        scores = push.predict(server, whole.scenario_id, said, read)
    return metrics.measured(aim, said.is_order_only, scores, aim.labels(part), part.requests)


def _rows(table: pa.Table, data: Path, said: manifest.Manifest) -> Rows:
    types = log.feature_types(table.schema, data)
    _check_features(said, types)
    return log.rows_of(table, {name: types[name] for name in said.types})


def _check_features(said: manifest.Manifest, types: Mapping[str, FeatureType]) -> None:
    """The log has what the model reads."""
    for name, kind in said.types.items():
        if name not in types:
            raise InputError(f"column `{name}` is missing; the model reads it")
        if types[name] is not kind:
            raise InputError(f"column `{name}` is {types[name]}; the model reads it as {kind}")
