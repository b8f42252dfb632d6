"""hnswlib's side of `cargo bench -p funnelweb-vector-index`, on the same vectors.

    pip install hnswlib numpy
    cargo bench -p funnelweb-vector-index -- --vectors 100000 --export FOLDER
    python tests/comparison/hnswlib_vectors.py FOLDER

Builds an index of inner products of every exported set, with the links and the
candidates of the crate's graph (M 16, efConstruction 200), and asks the exported
queries with several `ef`: recall@100 against the exact answer and the median time of
a query on one thread.
"""

import argparse
import time
from pathlib import Path

import hnswlib
import numpy as np

DIMENSION = 64
K = 100


def exact(items, queries):
    """The best K of each query."""
    best = []
    for query in queries:
        scores = items @ query
        best.append(set(np.argpartition(-scores, K)[:K].tolist()))
    return best


def compare(items, queries, threads, links, candidates):
    index = hnswlib.Index(space="ip", dim=DIMENSION)
    index.init_index(max_elements=len(items), M=links, ef_construction=candidates, random_seed=7)
    index.set_num_threads(threads)
    start = time.perf_counter()
    index.add_items(items)
    print(f"  built in {time.perf_counter() - start:.1f} s on {threads} threads (M {links}, efConstruction {candidates})")
    index.set_num_threads(1)
    truth = exact(items, queries)
    for ef in (200, 400, 800, 1600):
        index.set_ef(ef)
        times, hits = [], 0
        for query, best in zip(queries, truth):
            start = time.perf_counter()
            labels, _ = index.knn_query(query, k=K)
            times.append(time.perf_counter() - start)
            hits += len(best.intersection(labels[0].tolist()))
        recall = hits / (K * len(truth))
        print(f"  ef {ef:5}: {np.median(times) * 1e3:8.3f} ms   recall {recall:.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--links", type=int, default=16)
    parser.add_argument("--candidates", type=int, default=200)
    arguments = parser.parse_args()
    for path in sorted(arguments.folder.glob("items-*.f32")):
        items = np.fromfile(path, dtype="<f4").reshape(-1, DIMENSION)
        queries = np.fromfile(path.with_name(path.name.replace("items", "queries", 1)), dtype="<f4")
        print(f"\nhnswlib, {path.stem.removeprefix('items-')}")
        compare(items, queries.reshape(-1, DIMENSION), arguments.threads, arguments.links, arguments.candidates)


if __name__ == "__main__":
    main()
