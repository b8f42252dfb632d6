"""One implementation of the metrics, for everybody's lists."""

import numpy as np


def evaluate(top, wanted, cut):
    """Recall and NDCG of the first `cut` of each user's list, in the mean over the
    users who want something. With one wanted item Recall is the hit rate."""
    gains = 1.0 / np.log2(np.arange(2, cut + 2))
    recalls, ndcgs = [], []
    for user, items in wanted.items():
        items = set(items)
        hits = np.array([item in items for item in top[user][:cut]], dtype=float)
        recalls.append(hits.sum() / len(items))
        ndcgs.append((hits * gains[: len(hits)]).sum() / gains[: len(items)].sum())
    return float(np.mean(recalls)), float(np.mean(ndcgs))
