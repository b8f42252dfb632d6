"""What every kind of model is to the rest of the project."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import onnx
from numpy.typing import NDArray

from .encode import Tensors
from .errors import InputError
from .features import Input


class Kind(StrEnum):
    """The kinds that can be trained."""

    LIGHTGBM = "lightgbm"
    DEEPFM = "deepfm"
    WIDE_DEEP = "wide_deep"


def named(name: str) -> Kind:
    """The kind of that name."""
    if name not in set(Kind):
        raise InputError(f"kind {name!r} is none of: {', '.join(Kind)}")
    return Kind(name)


@dataclass(frozen=True)
class Round:
    """One step of training: the loss on both parts after it."""

    step: int
    train: float
    valid: float


@dataclass(frozen=True)
class Trained:
    """A trained model, before it is written."""

    inputs: tuple[Input, ...]
    graph: onnx.ModelProto
    score: Callable[[Tensors], NDArray[np.float32]]
    """The trainer's own scores, which the graph is to reproduce."""
    rounds: list[Round]
    loss_name: str
    notes: list[str]
    """What was decided on the way, for the report."""
