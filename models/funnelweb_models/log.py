"""Reads the training log that `funnelweb export-training` writes: one row per exposed item.

Everything that later steps rely on is checked here, and said in terms of the file's columns.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .errors import InputError
from .features import SOURCES, FeatureType
from .rows import Rows, Words

SPLITS = ("train", "valid", "test")
LABELS = ("label_click", "label_watch_time", "label_conversion")

_SCENARIO_KEY = b"funnelweb.scenario"


@dataclass(frozen=True)
class Part:
    """One part of the log: what was shown, and what came of it."""

    rows: Rows
    requests: NDArray[np.int64]
    """The request of each row, as a number."""
    positions: NDArray[np.int64]
    shown_at_ms: NDArray[np.int64]
    labels: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Log:
    """A training log, split by time."""

    scenario_id: str
    types: Mapping[str, FeatureType]
    parts: Mapping[str, Part]

    @property
    def train(self) -> Part:
        """What is learned from."""
        return self.parts["train"]

    @property
    def valid(self) -> Part:
        """What decides when to stop."""
        return self.parts["valid"]

    @property
    def test(self) -> Part:
        """What is measured on."""
        return self.parts["test"]


def read(path: Path) -> Log:
    """Reads and checks a whole log."""
    table = open_table(path)
    types = feature_types(table.schema, path)
    splits = _strings(table, "split").combine_chunks()
    unknown = set(pc.unique(splits).to_pylist()) - set(SPLITS)
    if unknown:
        raise InputError(f"{path}: column `split` has {min(map(repr, unknown))}; it is one of: {', '.join(SPLITS)}")
    return Log(
        scenario_id=str(_about(table.schema, path)["scenario_id"]),
        types=types,
        parts={split: _part(table.filter(pc.equal(splits, split)), types, split) for split in SPLITS},
    )


def open_table(path: Path) -> pa.Table:
    """Opens a Parquet file."""
    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a Parquet file that can be read: {str(error).splitlines()[0]}") from None


def feature_types(schema: pa.Schema, path: Path) -> dict[str, FeatureType]:
    """The features among the columns, by name."""
    said = _about(schema, path).get("features")
    said = said if isinstance(said, dict) else {}
    types = {}
    for name in schema.names:
        if name.partition(":")[0] not in SOURCES or ":" not in name:
            continue
        if name not in said:
            raise InputError(f"column `{name}`: the file metadata `funnelweb.scenario` has no type of it in `features`")
        if said[name] not in list(FeatureType):
            raise InputError(f"column `{name}`: its type {said[name]!r} is none of: {_type_names()}")
        types[name] = FeatureType(said[name])
    if not types:
        raise InputError("no feature among the columns; their names begin with item:, user:, context: or derived:")
    return types


def rows_of(table: pa.Table, types: Mapping[str, FeatureType]) -> Rows:
    """The features of a table's rows."""
    return Rows(
        count=table.num_rows,
        types=types,
        numbers={name: _feature_numbers(table, name) for name, kind in types.items() if kind.is_number},
        words={name: _feature_words(table, name, kind) for name, kind in types.items() if not kind.is_number},
    )


def request_numbers(table: pa.Table) -> NDArray[np.int64]:
    """The request of each row, as a number."""
    return _encode(_strings(table, "request_id"))[0]


def labels_of(table: pa.Table, names: Iterable[str] = LABELS) -> dict[str, NDArray[np.float32]]:
    """What came of each row."""
    return {name: _label(table, name) for name in names}


def _part(table: pa.Table, types: Mapping[str, FeatureType], split: str) -> Part:
    if table.num_rows == 0:
        raise InputError(f"column `split`: no row is {split!r}; every part needs some")
    return Part(
        rows=rows_of(table, types),
        requests=request_numbers(table),
        positions=_integers(table, "position"),
        shown_at_ms=_integers(table, "shown_at_ms"),
        labels=labels_of(table),
    )


def _about(schema: pa.Schema, path: Path) -> dict[str, Any]:
    """What the file says of itself."""
    said = (schema.metadata or {}).get(_SCENARIO_KEY)
    if said is None:
        raise InputError(f"{path}: its file metadata lacks `funnelweb.scenario`")
    try:
        about = json.loads(said)
    except ValueError:
        about = None
    if not isinstance(about, dict) or "scenario_id" not in about:
        raise InputError(f"{path}: its file metadata `funnelweb.scenario` is no JSON with a `scenario_id`")
    return about


def _type_names() -> str:
    return ", ".join(FeatureType)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise InputError(f"column `{name}` is missing")
    return table.column(name)


def _typed(table: pa.Table, name: str, fits: bool, wanted: str) -> pa.ChunkedArray:
    column = _column(table, name)
    if not fits:
        raise InputError(f"column `{name}` is {column.type}; it must be {wanted}")
    return column


def _complete(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    if column.null_count:
        raise InputError(f"column `{name}` has {column.null_count} nulls; it must have none")
    return column


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _strings(table: pa.Table, name: str) -> pa.ChunkedArray:
    column = _column(table, name)
    return _complete(_typed(table, name, _is_text(column.type), "string"), name).cast(pa.string())


def _integers(table: pa.Table, name: str) -> NDArray[np.int64]:
    column = _column(table, name)
    column = _complete(_typed(table, name, pa.types.is_integer(column.type), "an integer"), name)
    return np.asarray(column.to_numpy(), np.int64)


def _floats(table: pa.Table, name: str) -> pa.ChunkedArray:
    column = _column(table, name)
    return _typed(table, name, pa.types.is_floating(column.type), "float32").cast(pa.float32())


def _label(table: pa.Table, name: str) -> NDArray[np.float32]:
    values = np.asarray(_complete(_floats(table, name), name).to_numpy(), np.float32)
    if not np.isfinite(values).all() or (values < 0).any():
        raise InputError(f"column `{name}` has negative, infinite or NaN values; it must have none")
    if name != "label_watch_time" and not np.isin(values, (0, 1)).all():
        raise InputError(f"column `{name}` has other values than 0 and 1")
    return values


def _feature_numbers(table: pa.Table, name: str) -> NDArray[np.float32]:
    values = np.asarray(_floats(table, name).to_numpy(), np.float32)
    if np.isinf(values).any():
        raise InputError(f"column `{name}` has infinite values; a number is finite, or null where it is missing")
    return values


def _feature_words(table: pa.Table, name: str, kind: FeatureType) -> Words:
    column = _column(table, name)
    if kind is FeatureType.CATEGORICAL:
        column = _typed(table, name, _is_text(column.type), "string").cast(pa.string())
        present = column.is_valid().to_numpy().astype(np.int64)
        codes, distinct = _encode(column.drop_null())
        return Words(distinct, codes, np.concatenate(([0], np.cumsum(present))))
    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    column = _typed(table, name, is_list and _is_text(column.type.value_type), "list<string>")
    words = pc.list_flatten(column)
    row = pc.list_parent_indices(column).to_numpy()
    valid = words.is_valid().to_numpy()
    counts = np.bincount(row[valid], minlength=table.num_rows)
    codes, distinct = _encode(words.cast(pa.string()).drop_null())
    return Words(distinct, codes, np.concatenate(([0], np.cumsum(counts))))


def _encode(column: Any) -> tuple[NDArray[np.int64], tuple[str, ...]]:  # noqa: ANN401 - Arrow's arrays have no types
    """Texts as numbers and the distinct texts."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = pc.dictionary_encode(whole)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy().astype(np.int64), tuple(encoded.dictionary.to_pylist())
