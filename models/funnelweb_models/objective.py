"""What a score estimates: the label it is fitted to, and how a raw sum becomes the estimate.

Both losses are those of a generalised linear model with its own link, so that for every
trainer here the slope of the loss by the raw sum is just `mean(raw) - label`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .log import Part

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Objective:
    """A label and its link."""

    name: str
    label: str
    link: Literal["logit", "log"]
    """`logit`: a probability, by log-loss. `log`: an amount of 0 or more, by the Poisson deviance."""

    @property
    def is_probability(self) -> bool:
        """The label is 0 or 1."""
        return self.link == "logit"

    def labels(self, part: Part) -> Floats:
        """The labels of one part of the log."""
        return part.labels[self.label]

    def scale(self, labels: Floats) -> float:
        """What the labels are divided by for training, so that their mean is near 1."""
        return 1.0 if self.is_probability else float(labels.mean())

    def raw(self, mean: float) -> float:
        """The raw sum whose estimate is `mean`."""
        return float(np.log(mean / (1 - mean))) if self.is_probability else float(np.log(mean))

    def mean(self, raw: Floats) -> Floats:
        """The estimate of a raw sum."""
        if self.is_probability:
            return np.asarray(0.5 * (1 + np.tanh(0.5 * raw)))
        return np.asarray(np.exp(np.minimum(raw, RAW_LIMIT)))

    def loss(self, raw: Floats, labels: Floats) -> float:
        """The mean loss; of an amount up to a constant."""
        raw = raw.astype(np.float64)
        if self.is_probability:
            return float(np.mean(np.logaddexp(0, raw) - labels * raw))
        return float(np.mean(np.exp(np.minimum(raw, RAW_LIMIT)) - labels * raw))

    def check(self, labels: Floats) -> None:
        """There is something to learn."""
        if labels.min() == labels.max():
            raise InputError(
                f"column `{self.label}` is {labels.min():g} in every row of `train`; nothing can be learned"
            )


RAW_LIMIT = np.float32(30)
"""Where the exponent of an amount is cut, far above any real one: exp(30) is 1e13 times the mean."""

OBJECTIVES = {
    "click_rate": Objective("click_rate", "label_click", "logit"),
    "watch_time": Objective("watch_time", "label_watch_time", "log"),
    "conversion": Objective("conversion", "label_conversion", "logit"),
}


def named(name: str) -> Objective:
    """The objective of that name."""
    if name not in OBJECTIVES:
        raise InputError(f"objective {name!r} is none of: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]
