#!/usr/bin/env python3
"""Writes what the metrics of the crate `evaluation` must come to on a random case, by
implementations of others: `metrics.py` here, trec_eval, and scipy's bootstrap.

    pip install numpy scipy pytrec-eval-terrier
    python3 tests/comparison/expected.py > runtime-host/evaluation/src/metrics/expected.json
"""

import json

import numpy as np
import pytrec_eval
from metrics import evaluate
from scipy.stats import bootstrap

USERS, ITEMS, LENGTH, CUTS, SEED = 16, 30, 12, (3, 10), 7


def trec(wanted, slate, cut):
    """Of one user: recall, precision, graded NDCG, MAP, reciprocal rank, hit rate."""
    judged = {"u": {str(item): gain for item, gain in wanted}}
    answer = {"u": {str(item): float(-place) for place, item in enumerate(slate[:cut])}}
    names = {f"{name}.{cut}" for name in ("recall", "P", "ndcg_cut", "map_cut", "success")} | {"recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(judged, names).evaluate(answer)["u"]
    # trec_eval divides by all that is wanted, also where the slate cannot hold it.
    precisions = found[f"map_cut_{cut}"] * len(wanted) / min(len(wanted), cut)
    parts = ("recall", "P", "ndcg_cut")
    return [*(found[f"{part}_{cut}"] for part in parts), precisions, found["recip_rank"], found[f"success_{cut}"]]


def main():
    random = np.random.default_rng(SEED)
    users = []
    for _ in range(USERS):
        wanted = random.choice(ITEMS, size=random.integers(1, 9), replace=False)
        wanted = [(int(item), int(gain)) for item, gain in zip(wanted, random.choice([1, 2, 4, 8], len(wanted)))]
        slate = [int(item) for item in random.permutation(ITEMS)[: random.integers(0, LENGTH + 1)]]
        expected = {}
        for cut in CUTS:
            recall, precision, graded, average, reciprocal, hit = (
                trec(wanted, slate, cut) if slate else [0.0] * 6
            )
            own_recall, ndcg = evaluate([slate], {0: [item for item, _ in wanted]}, cut)
            assert abs(own_recall - recall) < 1e-4
            expected[cut] = [own_recall, precision, ndcg, graded, average, reciprocal, hit]
        users.append({"wanted": wanted, "slate": slate, "expected": expected})
    skewed = np.round(random.exponential(size=40) ** 2, 3)
    draws = bootstrap((skewed,), np.mean, n_resamples=200_000, method="BCa", random_state=1, batch=10_000)
    interval = [float(draws.confidence_interval.low), float(draws.confidence_interval.high)]
    case = {"users": users, "bca": {"values": skewed.tolist(), "interval": interval}}
    rounded = json.loads(json.dumps(case), parse_float=lambda text: round(float(text), 6))
    lines = ",\n    ".join(json.dumps(user) for user in rounded["users"])
    print(f'{{\n  "users": [\n    {lines}\n  ],\n  "bca": {json.dumps(rounded["bca"])}\n}}')


if __name__ == "__main__":
    main()
