"""What a model is given: features, columns and inputs, as the manifest says them.

A *feature* is one value of the log (`item:category`). A *column* is how a model is given
it (a vocabulary, a fill for missing values); one feature may have several columns. An
*input* is one tensor of the graph, its columns side by side.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SOURCES = ("item", "user", "context", "derived")


class FeatureType(StrEnum):
    """The type that the scenario's config declares."""

    NUMERIC = "numeric"
    TIMESTAMP = "timestamp"
    CATEGORICAL = "categorical"
    MULTI_CATEGORICAL = "multi_categorical"

    @property
    def is_number(self) -> bool:
        """A number, and not one or several words."""
        return self in (FeatureType.NUMERIC, FeatureType.TIMESTAMP)


@dataclass(frozen=True)
class Column:
    """How one feature becomes one or several values of a tensor."""

    feature: str
    type: FeatureType
    missing: float | None = None
    """What stands for a missing number; none for NaN."""
    vocabulary: tuple[str, ...] = ()
    length: int = 1
    """Words that a multi-categorical column takes."""

    @property
    def width(self) -> int:
        """Values in the tensor."""
        return self.length if self.type is FeatureType.MULTI_CATEGORICAL else 1

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        json: dict[str, Any] = {"feature": self.feature, "type": self.type.value}
        if self.type.is_number:
            return json if self.missing is None else json | {"missing": self.missing}
        json["vocabulary"] = list(self.vocabulary)
        if self.type is FeatureType.MULTI_CATEGORICAL:
            json["length"] = self.length
        return json

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> "Column":
        """From the manifest."""
        return cls(
            feature=json["feature"],
            type=FeatureType(json["type"]),
            missing=json.get("missing"),
            vocabulary=tuple(json.get("vocabulary", ())),
            length=json.get("length", 1),
        )


@dataclass(frozen=True)
class Input:
    """One tensor of the graph, `[N, width]`."""

    tensor: str
    element: str
    """`float32` or `int64`."""
    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Values in a row."""
        return sum(column.width for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "tensor": self.tensor,
            "type": self.element,
            "columns": [column.to_json() for column in self.columns],
        }

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> "Input":
        """From the manifest."""
        return cls(
            tensor=json["tensor"],
            element=json["type"],
            columns=tuple(Column.from_json(column) for column in json["columns"]),
        )


def schema_hash(inputs: Iterable[Input]) -> str:
    """Of the features read and their types; equal for models that fit the same scenarios."""
    lines = {f"{column.feature} {column.type.value}\n" for each in inputs for column in each.columns}
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]
