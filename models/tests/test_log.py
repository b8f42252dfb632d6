"""What is wrong with a log is said in one line that names the column."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from funnelweb_models import log
from funnelweb_models.errors import InputError
from funnelweb_models.features import FeatureType

from . import synthetic

Change = Callable[[pa.Table], pa.Table]


def replaced(name: str, values: Callable[[pa.Table], pa.Array]) -> Change:
    def change(table: pa.Table) -> pa.Table:
        at = table.column_names.index(name)
        return table.set_column(at, name, values(table))

    return change


def typed(name: str, said: object) -> Change:
    """With another type of a feature, or none at all."""
    types = {feature: kind for feature, kind in {**synthetic.TYPES, name: said}.items() if kind is not None}
    return lambda table: synthetic.with_types(table, types)


def first(name: str, value: object) -> Change:
    """With another value in the first row."""
    return replaced(name, lambda table: pa.array([value, *table[name].to_pylist()[1:]], table[name].type))


WRONG: list[tuple[Change, str]] = [
    (lambda table: table.drop_columns(["split"]), "column `split` is missing"),
    (lambda table: table.drop_columns(["label_click"]), "column `label_click` is missing"),
    (lambda table: table.drop_columns(["request_id"]), "column `request_id` is missing"),
    (lambda table: table.drop_columns(list(synthetic.TYPES)), "no feature among the columns"),
    (lambda table: table.replace_schema_metadata({}), "its file metadata lacks `funnelweb.scenario`"),
    (lambda table: table.replace_schema_metadata({"funnelweb.scenario": "[]"}), "no JSON with a `scenario_id`"),
    (lambda table: table.slice(0, 50), "column `split`: no row is 'valid'"),
    (first("split", "dev"), "column `split` has 'dev'"),
    (first("label_click", 0.5), "column `label_click` has other values than 0 and 1"),
    (first("label_click", None), "column `label_click` has 1 nulls"),
    (first("label_watch_time", -1.0), "column `label_watch_time` has negative"),
    (first("label_watch_time", float("inf")), "column `label_watch_time` has negative, infinite"),
    (first("item:view_count", float("inf")), "column `item:view_count` has infinite values"),
    (replaced("position", lambda table: table["position"].cast(pa.string())), "column `position` is string"),
    (
        replaced("item:duration", lambda table: table["request_id"]),
        "column `item:duration` is string; it must be float32",
    ),
    (replaced("item:category", lambda table: table["position"]), "column `item:category` is int32; it must be string"),
    (replaced("item:tags", lambda table: table["request_id"]), "column `item:tags` is string; it must be list<string>"),
    (typed("item:tags", None), "column `item:tags`: the file metadata `funnelweb.scenario` has no type of it"),
    (typed("item:tags", "words"), "column `item:tags`: its type 'words' is none of: numeric"),
    (typed("item:tags", ["numeric"]), "column `item:tags`: its type ['numeric'] is none of: numeric"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_fault_is_told(change: Change, said: str, tmp_path: Path) -> None:
    path = synthetic.written(change(synthetic.log(20)), tmp_path / "log.parquet")
    with pytest.raises(InputError) as error:
        log.read(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        log.read(tmp_path / "none")
    (tmp_path / "text").write_text("text")
    with pytest.raises(InputError, match="not a Parquet file"):
        log.read(tmp_path / "text")


def test_values_are_as_they_stand_in_the_file(tmp_path: Path) -> None:
    table = synthetic.log(100)
    whole = log.read(synthetic.written(table, tmp_path / "log.parquet"))
    assert whole.scenario_id == "demo"
    assert whole.types["item:published"] is FeatureType.TIMESTAMP
    assert [whole.parts[split].rows.count for split in log.SPLITS] == [700, 150, 150]
    rows = whole.train.rows
    for at in range(0, 700, 7):
        assert rows.words["item:tags"].of_row(at) == (table["item:tags"][at].as_py() or [])
        category = table["item:category"][at].as_py()
        assert rows.words["item:category"].of_row(at) == ([] if category is None else [category])
        duration = table["item:duration"][at].as_py()
        assert (
            np.isnan(rows.numbers["item:duration"][at])
            if duration is None
            else rows.numbers["item:duration"][at] == duration
        )


def test_texts_may_be_dictionaries_and_lists_may_hold_nulls(tmp_path: Path) -> None:
    table = first("item:tags", ["tag_1", None, "tag_2"])(synthetic.log(20))
    table = replaced("item:category", lambda table: table["item:category"].dictionary_encode())(table)
    rows = log.read(synthetic.written(table, tmp_path / "log.parquet")).train.rows
    assert rows.words["item:tags"].of_row(0) == ["tag_1", "tag_2"]
    assert set(rows.words["item:category"].distinct) <= set(synthetic.CATEGORIES)
