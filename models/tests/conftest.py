"""One log and one model of each kind for all tests: training is what takes time."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from funnelweb_models import kinds, objective, training

from . import synthetic


@dataclass(frozen=True)
class Made:
    """What a training wrote."""

    folder: Path

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"

    def json(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_text())


Make = Callable[..., Made]


@pytest.fixture(scope="session")
def log_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 25,000 rows."""
    return synthetic.written(synthetic.log(2500), tmp_path_factory.mktemp("log") / "log.parquet")


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory, log_path: Path) -> Make:
    """Trains a model; each once."""
    made: dict[tuple[str, str, bool], Made] = {}

    def train(kind: str, aim: str = "click_rate", lambdarank: bool = False) -> Made:
        key = (kind, aim, lambdarank)
        if key not in made:
            folder = tmp_path_factory.mktemp(kind) / "out"
            settings = training.Settings(kinds.named(kind), objective.named(aim), kind, "v1", lambdarank)
            training.train(log_path, settings, folder)
            made[key] = Made(folder)
        return made[key]

    return train
