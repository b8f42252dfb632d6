"""What we are compared with: models of `implicit`, and EASE in numpy."""

import time

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender

SEED = 42


def fit(model, train, threads, top):
    """Seconds of training, and the best `top` items of every user without those that
    the user has."""
    started = time.perf_counter()
    model.fit(train, show_progress=False)
    seconds = time.perf_counter() - started
    ids, _ = model.recommend(np.arange(train.shape[0]), train, N=top)
    return seconds, ids


def als(train, threads, top, factors, regularization, alpha, seed=SEED):
    model = AlternatingLeastSquares(
        factors=factors, regularization=regularization, alpha=alpha, num_threads=threads, random_state=seed
    )
    return fit(model, train, threads, top)


def bpr(train, threads, top, factors, learning_rate, regularization):
    model = BayesianPersonalizedRanking(
        factors=factors,
        learning_rate=learning_rate,
        regularization=regularization,
        num_threads=threads,
        random_state=SEED,
    )
    return fit(model, train, threads, top)


def item_knn(train, threads, top, neighbours, k1, b):
    # Their neighbours include the item itself.
    return fit(BM25Recommender(K=neighbours + 1, K1=k1, B=b, num_threads=threads), train, threads, top)


def ease(train, threads, top, regularisation):
    started = time.perf_counter()
    users, items = train.shape
    if users < items:  # the same inverse by Woodbury's identity, of the smaller matrix
        inner = np.linalg.inv((train @ train.T).toarray() + regularisation * np.eye(users, dtype=np.float32))
        weights = (np.eye(items, dtype=np.float32) - train.T @ (inner @ train)) / regularisation
    else:
        weights = np.linalg.inv((train.T @ train).toarray() + regularisation * np.eye(items, dtype=np.float32))
    weights /= -np.diag(weights)
    weights[np.diag_indices(len(weights))] = 0.0
    seconds = time.perf_counter() - started
    tops = []
    for start in range(0, train.shape[0], 1000):
        rows = train[start : start + 1000]
        scores = rows @ weights
        scores[rows.nonzero()] = -np.inf
        part = np.argpartition(-scores, top, axis=1)[:, :top]
        order = np.argsort(-np.take_along_axis(scores, part, 1), axis=1, kind="stable")
        tops.append(np.take_along_axis(part, order, 1))
    return seconds, np.vstack(tops)
