"""The slopes that are written out by hand are those that differences say."""

import numpy as np
import pytest

from funnelweb_models import network, slots
from funnelweb_models.features import Column, FeatureType, Input
from funnelweb_models.network import Network, Shape, SparseSlope

IDS = Input(
    "ids",
    "int64",
    (
        Column("item:a", FeatureType.CATEGORICAL, vocabulary=("1", "2", "3")),
        Column("user:b", FeatureType.CATEGORICAL, vocabulary=("1", "2")),
        Column("item:m", FeatureType.MULTI_CATEGORICAL, vocabulary=("1", "2", "3", "4"), length=3),
    ),
)
STEP = 1e-5


def made(factorised: bool) -> tuple[Network, network.Batch, list[np.ndarray]]:
    """A network in float64 (differences need it), rows, and units that are left out."""
    random = np.random.default_rng(5)
    fields = slots.fields(IDS)
    crosses = (slots.Cross(fields[0], fields[1], 12), slots.Cross(fields[2], fields[0], 24))
    shape = Shape(2, fields, () if factorised else crosses, factorised)
    model = Network(shape, 0.3, random)
    for name, values in model.weights.items():
        model.weights[name] = values.astype(np.float64) + 0.1 * random.normal(size=values.shape) * (values != 0)
    ids = np.array([[1, 0, 2, 4, 0], [3, 2, 0, 0, 0], [0, 1, 1, 2, 3], [1, 2, 4, 4, 0]])
    kept = [random.integers(0, 2, (4, units)) * 2.0 for units in network.HIDDEN]
    return model, network.batch(shape, random.normal(size=(4, 2)), ids), kept


@pytest.mark.parametrize("factorised", [True, False])
def test_slopes_are_those_of_differences(factorised: bool) -> None:
    model, given, kept = made(factorised)
    weight_of_row = np.array([1.0, -2.0, 0.5, 0.25])
    _, trace = model.forward(given, kept)
    slopes = model.backward(trace, weight_of_row)
    assert set(slopes) == set(model.weights)
    for name, slope in slopes.items():
        for at in places(slope, model.weights[name]):
            whole = slope.values[list(slope.rows).index(at[0]), at[1]] if isinstance(slope, SparseSlope) else slope[at]
            np.testing.assert_allclose(
                whole, difference(model, given, kept, weight_of_row, name, at), rtol=1e-4, atol=1e-7
            )


def places(slope: network.Floats | SparseSlope, weights: np.ndarray) -> list[tuple[int, ...]]:
    """Some weights that were used and may move, at random."""
    random = np.random.default_rng(1)
    if isinstance(slope, SparseSlope):
        moving = slope.rows[(slope.values != 0).any(axis=1)]
        return [(int(row), int(random.integers(weights.shape[1]))) for row in moving]
    return [tuple(int(random.integers(size)) for size in weights.shape) for _ in range(20)]


def difference(model, given, kept, weight_of_row, name, at) -> float:  # noqa: ANN001
    values = []
    for step in (STEP, -STEP):
        model.weights[name][at] += step
        values.append(model.forward(given, kept)[0] @ weight_of_row)
        model.weights[name][at] -= step
    return (values[0] - values[1]) / (2 * STEP)


def test_what_fills_up_a_field_has_no_weight() -> None:
    model, given, kept = made(factorised=False)
    field = slots.fields(IDS)[2]
    assert not model.weights["embedding"][field.row].any()
    slope = model.backward(model.forward(given, kept)[1], np.ones(4))["embedding"]
    assert isinstance(slope, SparseSlope)
    assert not slope.values[slope.rows == field.row].any()
