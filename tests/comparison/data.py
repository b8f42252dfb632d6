"""The data sets of the comparison, each as matrices and a protocol."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sparse


@dataclass
class Split:
    """What is learned from, and what must be found for each user."""

    train: sparse.csr_matrix
    wanted: dict[int, list[int]]


@dataclass
class DataSet:
    """Tuning happens on `validation` alone; `test` is looked at once."""

    name: str
    cut: int
    validation: Split
    test: Split


def matrix(pairs, shape):
    rows, columns = np.array(pairs, dtype=np.int64).T
    result = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape)
    result.data[:] = 1.0
    return result


def lists(pairs):
    wanted = {}
    for user, item in pairs:
        wanted.setdefault(user, []).append(item)
    return wanted


def fixed_split(name, read):
    """Train, validation and test as they come; the best 20 are looked at. Items that
    only occur in validation or test cannot be found by anybody, and count."""
    train, valid, test = (read(part) for part in ("train", "valid", "test"))
    everything = np.array(train + valid + test)
    learned = matrix(train, tuple(everything.max(axis=0) + 1))
    return DataSet(name, 20, Split(learned, lists(valid)), Split(learned, lists(test)))


def lastfm(folder):
    def read(part):
        with gzip.open(folder / "lastfm_lightgcnpp" / f"{part}.txt.gz", "rt") as file:
            rows = [[int(word) for word in line.split()] for line in file]
        return [(row[0], item) for row in rows for item in row[1:]]

    return fixed_split("LastFM", read)


def tiktok(folder):
    def read(part):
        with gzip.open(folder / "tiktok_diffmm" / f"{part}.tsv.gz", "rt") as file:
            return [tuple(int(word) for word in line.split()) for line in file]

    return fixed_split("TikTok", read)


def sequences(folder, name, title):
    """The last item is the test, the one before it the validation; what comes before
    is learned from, for the test with the item of the validation. The best 10 are
    looked at."""
    with gzip.open(folder / "amazon-sequences" / f"{name}.txt.gz", "rt") as file:
        rows = [[int(word) for word in line.split()][1:] for line in file]
    shape = (len(rows), max(max(row) for row in rows) + 1)

    def leave(last):
        pairs = [(user, item) for user, row in enumerate(rows) for item in row[:-last]]
        return Split(matrix(pairs, shape), {user: [row[-last]] for user, row in enumerate(rows)})

    return DataSet(title, 10, leave(2), leave(1))


SETS = {
    "lastfm": lastfm,
    "tiktok": tiktok,
    "beauty": lambda folder: sequences(folder, "Beauty", "Amazon Beauty"),
}


def load(folder, name):
    return SETS[name](Path(folder))
