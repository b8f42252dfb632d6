"""The format's rules: hashes, places, fills, vocabularies, schema hashes."""

import numpy as np
import pytest

from funnelweb_models import encode, golden, vocabulary
from funnelweb_models.errors import InputError
from funnelweb_models.features import Column, FeatureType, Input, schema_hash
from funnelweb_models.manifest import check_name
from funnelweb_models.rows import Rows, Words
from funnelweb_models.vocabulary import Options

NUMERIC, CATEGORICAL, MULTI = FeatureType.NUMERIC, FeatureType.CATEGORICAL, FeatureType.MULTI_CATEGORICAL
TYPES = {"item:n": NUMERIC, "item:c": CATEGORICAL, "item:m": MULTI}


def rows(*json: dict) -> Rows:
    return Rows.from_json(json, TYPES)


def test_words_have_the_hash_of_the_sandbox() -> None:
    assert encode.value_hash("") == 0x38D394C2  # XXH3 of nothing is 0x2d06800538d394c2 by its specification
    assert encode.value_hash("#1c9a01ff") == 0x1C9A01FF
    assert encode.value_hash("#00000000") == 1
    assert encode.value_hash("#1c9a01f") == encode.value_hash("#1c9a01f") != 0x1C9A01F


def test_places_follow_the_format() -> None:
    hashed = f"#{encode.value_hash('live'):08x}"
    single = Column("item:c", CATEGORICAL, vocabulary=("music", "sport", "#1c9a01ff"))
    several = Column("item:m", MULTI, vocabulary=("live", "new"), length=2)
    given = rows(
        {"item:c": "sport", "item:m": ["new", "live"]},
        {"item:c": "opera", "item:m": ["odd", "live", "odd", "new", "live"]},
        {"item:c": "#1c9a01ff", "item:m": [hashed]},
        {},
    )
    made = encode.tensor(Input("ids", "int64", (single, several)), given)
    assert made.dtype == np.int64
    assert made.tolist() == [[2, 2, 1], [0, 1, 2], [3, 1, 0], [0, 0, 0]]


def test_a_missing_number_is_filled_or_nan() -> None:
    columns = (
        Column("item:n", NUMERIC, missing=-1.0),
        Column("item:n", NUMERIC),
        Column("item:c", CATEGORICAL, vocabulary=("a",)),
    )
    made = encode.tensor(Input("x", "float32", columns), rows({"item:n": 2.5, "item:c": "a"}, {}))
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, np.array([[2.5, 2.5, 1], [-1, np.nan, 0]], np.float32))


def test_rows_come_back_from_json() -> None:
    json = [{"item:n": 0.5, "item:m": ["a", "b"]}, {"item:c": "x"}, {}]
    assert rows(*json).to_json() == json
    assert rows(*json).take(np.array([2, 0])).to_json() == [{}, json[0]]


def test_the_schema_hash_is_of_sorted_distinct_lines() -> None:
    one = Input("a", "float32", (Column("item:n", NUMERIC), Column("item:n", NUMERIC, missing=1.0)))
    other = Input("b", "int64", (Column("item:c", CATEGORICAL, vocabulary=("x",)),))
    # printf 'item:c categorical\nitem:n numeric\n' | sha256sum
    assert schema_hash((one, other)) == schema_hash((other, one)) == "adcb0cddb4f460cb"
    assert schema_hash((one,)) != schema_hash((other,))


def test_a_vocabulary_keeps_the_frequent_words() -> None:
    words = Words.from_lists([["b"], ["b"], ["a"], ["a"], ["c"], ["c"], ["c"], ["rare"]])
    assert vocabulary.frequent(words, Options(count=2, values=10)) == ("c", "a", "b")
    assert vocabulary.frequent(words, Options(count=2, values=2)) == ("c", "a")
    assert vocabulary.frequent(words, Options(count=9, values=2)) == ()


def test_a_word_and_its_hash_are_one() -> None:
    hashed = f"#{encode.value_hash('music'):08x}"
    words = Words.from_lists([["music"], ["music"], [hashed]])
    assert vocabulary.frequent(words, Options(count=1, values=9)) == ("music",)


def test_trees_have_words_in_the_order_of_their_label_unless_that_is_luck() -> None:
    words = Words.from_lists([["often"]] * 300 + [["seldom"]] * 200 + [["few"]] * 20)
    labels = np.concatenate((np.arange(300) % 2, np.arange(200) % 10 == 0, np.ones(20))).astype(np.float32)
    assert vocabulary.by_mean_label(words, labels, Options()) == ("seldom", "often")
    alike = (np.arange(520) % 4 == 0).astype(np.float32)
    assert vocabulary.by_mean_label(words, alike, Options()) == ("often", "seldom")


def test_golden_rows_show_what_the_log_lacks() -> None:
    several = Column("item:m", MULTI, vocabulary=("a", "b", "c"), length=1)
    inputs = (Input("ids", "int64", (several, Column("item:c", CATEGORICAL, vocabulary=("x",)))),)
    chosen = golden.rows(inputs, rows(*[{"item:n": 1.0, "item:m": ["a"], "item:c": "x"}] * 9), seed=1)
    assert {} in chosen
    assert all("item:n" not in row for row in chosen)
    assert any(row.get("item:c") == golden.UNKNOWN for row in chosen)
    assert any(len(row.get("item:m", [])) == 4 for row in chosen)


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 64])
def test_a_name_that_is_none_is_told(name: str) -> None:
    with pytest.raises(InputError, match=r"version .* must be 1 to 63 of"):
        check_name("version", name)
