#!/usr/bin/env python3
"""Compares this project's algorithms with `implicit` and a plain EASE.

    python3 tests/comparison/compare.py DATA [--sets lastfm,tiktok,beauty] [--threads 2] [--fresh]

DATA is a folder with the sets that `data.py` reads. Everything else is made below
`target/comparison`: a virtual environment with what `requirements.txt` lists, the
program of ours (a release build), and `results.jsonl`, from which a run that was cut
off goes on. Both sides get the same data, split, threads and grid size, and one
implementation of the metrics. Settings are chosen on the validation part by NDCG; of
the test part each model is measured once, with those.

Prints a Markdown table. A line of its own, without the cache, compares ALS at the same
factors, epochs and threads: training time (the best of three) and NDCG@10.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "comparison"


def in_environment():
    """Starts this script again in an environment that has what it needs."""
    folder = WORK / "venv"
    python = folder / "bin" / "python"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    if not python.exists():
        venv.create(folder, with_pip=True)
    requirements = HERE / "requirements.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    # implicit runs threads of its own, and says that BLAS must not.
    os.execve(python, [python, *sys.argv], {**os.environ, "OPENBLAS_NUM_THREADS": "1"})


def program():
    build = ["cargo", "build", "--release", "--package", "funnelweb-algorithms", "--example", "compare"]
    subprocess.run(build, cwd=ROOT, check=True)
    return WORK.parent / "release" / "examples" / "compare"


class Results:
    """Of everything measured, kept so that nothing is measured twice."""

    def __init__(self, path, fresh):
        if fresh:
            path.unlink(missing_ok=True)
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.known = {json.dumps(key): value for key, value in map(json.loads, lines)}

    def get(self, key, measure):
        name = json.dumps(key)
        if name not in self.known:
            self.known[name] = measure()
            with self.path.open("a") as file:
                file.write(json.dumps([key, self.known[name]]) + "\n")
            print(*key, self.known[name], file=sys.stderr, flush=True)
        return self.known[name]


def tune(dataset, sides, results):
    """The test metrics of every model, with what was best on the validation part."""
    from metrics import evaluate

    rows = []
    for side, models in sides.items():
        tuned = []
        for model, (specifications, run) in models.items():
            if callable(specifications):
                specifications = specifications(tuned)

            def measured(part, specification):
                def measure():
                    split = getattr(dataset, part)
                    seconds, top = run(split.train, specification, dataset.cut)
                    return [seconds, *evaluate(top, split.wanted, dataset.cut)]

                return results.get([dataset.name, side, model, part, specification], measure)

            best = max(specifications, key=lambda of: measured("validation", of)[2])
            rows.append((side, model, best, measured("test", best)))
            tuned.append((measured("validation", best)[2], best))
    return rows


def described(specification):
    """Settings in words, of a fusion the names of its parts."""
    parts = {**specification, "of": " + ".join(part["model"] for part in specification.get("of", []))}
    return ", ".join(f"{name} {value}" for name, value in parts.items() if name != "model" and value != "")


def table(dataset, rows):
    kind = "HR" if dataset.name.startswith("Amazon") else "Recall"
    best_recall, best_ndcg = (
        max(measured[at] for side, _, _, measured in rows if side == "implicit/numpy") for at in (1, 2)
    )
    print(f"\n### {dataset.name}\n")
    print(f"| side | model | {kind}@{dataset.cut} | NDCG@{dataset.cut} | fit, s | settings |\n|---|---|---|---|---|---|")
    for side, model, best, (seconds, recall, ndcg) in rows:
        settings = described(best)
        marks = [f"**{value:.4f}**" if side == "ours" and value >= bar else f"{value:.4f}"
                 for value, bar in ((recall, best_recall), (ndcg, best_ndcg))]
        print(f"| {side} | {model} | {marks[0]} | {marks[1]} | {seconds:.1f} | {settings} |")


def same_factors(dataset, ours, threads, rows):
    """ALS at the same factors, epochs and threads, each with its tuned loss."""
    import theirs
    from metrics import evaluate

    split = dataset.test
    their_best, our_best = (
        next(best for of, model, best, _ in rows if (of, model) == (side, "als"))
        for side in ("implicit/numpy", "ours")
    )
    for factors in (64, 128):
        runs = [theirs.als(split.train, threads, 10, **{**their_best, "factors": factors}) for _ in range(3)]
        their_ndcg = evaluate(runs[0][1], split.wanted, 10)[1]
        specification = {**our_best, "dimensions": factors, "epochs": 15}
        our_runs = ours.run(split.train, [specification] * 3, 10)
        our_ndcg = evaluate(our_runs[0][1], split.wanted, 10)[1]
        times = [min(seconds for seconds, _ in of) for of in (runs, our_runs)]
        print(f"| {dataset.name} | {factors} | {times[0]:.2f} | {times[1]:.2f} | {their_ndcg:.4f} | {our_ndcg:.4f} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--sets", default="lastfm,tiktok,beauty")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--fresh", action="store_true", help="forget what an earlier run measured")
    arguments = arguments.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    in_environment()

    import data
    import grids
    import theirs
    from ours import Ours
    from threadpoolctl import threadpool_limits

    def numpy_ease(train, threads, top, **specification):
        with threadpool_limits(threads):
            return theirs.ease(train, threads, top, **specification)

    functions = {"als": theirs.als, "bpr": theirs.bpr, "item_knn": theirs.item_knn, "ease": numpy_ease}

    def their_run(model):
        function = functions[model]
        return lambda train, of, top: function(train, arguments.threads, top, **of)

    ours = Ours(program(), arguments.threads)
    our_run = lambda train, of, top: ours.run(train, [of], top)[0]
    sides = {
        "implicit/numpy": {model: (grid, their_run(model)) for model, grid in grids.THEIRS.items()},
        "ours": {model: (grid, our_run) for model, grid in {**grids.OURS, "fusion": grids.fusions}.items()},
    }
    results = Results(WORK / "results.jsonl", arguments.fresh)
    sets = [data.load(arguments.data, name) for name in arguments.sets.split(",")]
    all_rows = [tune(dataset, sides, results) for dataset in sets]
    for dataset, rows in zip(sets, all_rows):
        table(dataset, rows)
    print("\n### ALS at the same factors, 15 epochs\n")
    print("| set | factors | implicit, s | ours, s | implicit NDCG@10 | ours NDCG@10 |\n|---|---|---|---|---|---|")
    for dataset, rows in zip(sets, all_rows):
        same_factors(dataset, ours, arguments.threads, rows)


if __name__ == "__main__":
    main()
