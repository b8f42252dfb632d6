"""The metrics, against values worked out by hand."""

import numpy as np
import pytest

from funnelweb_models import metrics, trees


def test_auc_counts_ties_as_half() -> None:
    labels = np.array([0, 0, 1, 1])
    assert metrics.auc(np.array([0.1, 0.4, 0.35, 0.8]), labels) == 0.75
    assert metrics.auc(np.ones(4), labels) == 0.5
    assert metrics.auc(np.ones(4), np.ones(4)) is None


def test_ndcg_is_by_request_and_shares_ties() -> None:
    labels, groups = np.array([1.0, 0, 0, 1, 0, 0]), np.array([1, 2, 1, 2, 3, 3])
    assert metrics.ndcg(np.array([9.0, 9, 1, 1, 5, 5]), labels, groups) == pytest.approx((1 + 1 / np.log2(3)) / 2)
    tied = (1 + 1 / np.log2(3)) / 2
    assert metrics.ndcg(np.zeros(6), labels, groups) == pytest.approx(tied)
    assert metrics.ndcg(np.zeros(2), np.zeros(2), np.zeros(2, np.int64)) is None


def test_ndcg_looks_at_ten_places() -> None:
    labels = np.zeros(12)
    labels[11] = 1
    assert metrics.ndcg(-np.arange(12.0), labels, np.zeros(12, np.int64)) == 0.0


def test_loss_and_calibration() -> None:
    labels = np.array([0.0, 1.0] * 50)
    assert metrics.log_loss(np.full(100, 0.5), labels) == pytest.approx(np.log(2))
    assert metrics.calibration_error(metrics.calibration(np.full(100, 0.5), labels)) == pytest.approx(0)
    assert metrics.calibration_error(metrics.calibration(np.full(100, 0.8), labels)) == pytest.approx(0.3)


@pytest.mark.parametrize("threshold", [0.1, -0.1, 1 / 3, 1e-300, -1e-300, 16777217.0, 1e300, 0.5])
def test_thresholds_are_rounded_down(threshold: float) -> None:
    rounded = trees.float32_not_above(threshold)
    assert rounded == float(np.float32(rounded)) <= threshold
    with np.errstate(over="ignore"):
        assert float(np.nextafter(np.float32(rounded), np.float32(np.inf))) > threshold


def test_amounts_have_grades() -> None:
    train = np.array([0, 0, 1, 2, 3, 4], np.float32)
    assert trees.grades(train, train).tolist() == [0, 0, 1, 2, 3, 4]
    assert trees.grades(np.array([0, 1], np.float32), np.array([0, 1], np.float32)).tolist() == [0, 1]
