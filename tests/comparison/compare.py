#!/usr/bin/env python3
"""Compares this project's algorithms with `implicit` and a plain EASE.

    python3 tests/comparison/compare.py DATA [--sets lastfm,tiktok,beauty] [--threads 2] [--fresh]

DATA is a folder with the sets that `data.py` reads. Everything else is made below
`target/comparison`: a virtual environment with what `requirements.txt` lists, the
program of ours (a release build), and what was measured, from which a run that was cut
off goes on as long as program, scripts and threads are the same. `--fresh` forgets all
of it, environment included. Both sides get the same data, split and threads, no more
settings for ours than for theirs (`grids.py`), and one implementation of the metrics.
Settings are chosen on the validation part by NDCG, and then each side's model; of the
test part each model is measured once, with its settings. What is the same in the four
digits that are printed is no better: of such the simpler is chosen, which is what
`grids.py` has first, and any single model before a fusion.

Prints Markdown tables, and to stderr what is measured as it goes. The last tables
compare, with the settings that are best on the validation part at that size, ALS at the
same factors, epochs and threads, trained in turns from several seeds, and item kNN.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "comparison"
THEIRS, OURS = "implicit/numpy", "ours"
DIGITS = 4
FACTORS, SEEDS, EPOCHS = (64, 128), (1, 2, 3, 4, 5), 15


def in_environment(fresh):
    """Starts this script again in an environment that has what it needs."""
    folder = WORK / "venv"
    python = folder / "bin" / "python"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    if fresh:
        shutil.rmtree(WORK, ignore_errors=True)
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


def results_file(program, threads):
    """Named after all that decides what is measured, but for the settings and the data."""
    scripts = (HERE / name for name in ("data.py", "metrics.py", "ours.py", "theirs.py", "requirements.txt"))
    content = b"".join(path.read_bytes() for path in [program, *scripts])
    return WORK / f"results-{hashlib.sha256(content).hexdigest()[:12]}-{threads}.jsonl"


class Results:
    """Of everything measured, kept so that nothing is measured twice."""

    def __init__(self, path):
        self.path, self.started = path, time.monotonic()
        lines = path.read_text().splitlines() if path.exists() else []
        self.known = {json.dumps(key): value for key, value in map(json.loads, lines)}

    def get(self, key, measure):
        name = json.dumps(key)
        if name not in self.known:
            self.known[name] = measure()
            with self.path.open("a") as file:
                file.write(json.dumps([key, self.known[name]]) + "\n")
            minutes = (time.monotonic() - self.started) / 60
            print(f"{minutes:5.1f} min", *key, self.known[name], file=sys.stderr, flush=True)
        return self.known[name]


def measured(results, dataset, side, model, part, specification, run):
    """Seconds of training, Recall and NDCG at the cut of the set, NDCG@10."""
    from metrics import evaluate

    def measure():
        split = getattr(dataset, part)
        seconds, top = run(split.train, specification, dataset.cut)
        return [seconds, *evaluate(top, split.wanted, dataset.cut), evaluate(top, split.wanted, 10)[1]]

    return results.get([dataset.name, side, model, part, specification], measure)


def tune(dataset, sides, results):
    """By side and model: what was tried on the validation part, with its NDCG, best
    first, and the measures of the best on the test part."""
    tuned = {}
    for side, models in sides.items():
        for model, (specifications, run) in models.items():
            if callable(specifications):
                specifications = specifications([tried[0] for of, (tried, _) in tuned.items() if of[0] == side])
            tried = [
                (measured(results, dataset, side, model, "validation", of, run)[2], of) for of in specifications
            ]
            tried.sort(key=lambda of: -round(of[0], DIGITS))  # stable: the first of equals
            test = measured(results, dataset, side, model, "test", tried[0][1], run)
            tuned[side, model] = (tried, test)
    return tuned


def described(specification):
    """Settings in words, of a fusion the names of its parts."""
    parts = {**specification, "of": " + ".join(part["model"] for part in specification.get("of", []))}
    return ", ".join(f"{name} {value}" for name, value in parts.items() if name != "model" and value != "")


def table(dataset, tuned):
    kind = "HR" if dataset.name.startswith("Amazon") else "Recall"
    bars = [max(test[at] for (side, _), (_, test) in tuned.items() if side == THEIRS) for at in (1, 2)]
    print(f"\n### {dataset.name}\n")
    print(f"| side | model | tried | NDCG@{dataset.cut} on validation | {kind}@{dataset.cut} | NDCG@{dataset.cut} "
          "| fit, s | settings |\n|---|---|---|---|---|---|---|---|")
    for (side, model), (tried, (seconds, recall, ndcg, _)) in tuned.items():
        best_ndcg, best = tried[0]
        marks = [f"**{value:.4f}**" if side == OURS and value >= bar else f"{value:.4f}"
                 for value, bar in zip((recall, ndcg), bars)]
        print(f"| {side} | {model} | {len(tried)} | {best_ndcg:.4f} | {marks[0]} | {marks[1]} | {seconds:.1f} "
              f"| {described(best)} |")


def chosen(dataset, tuned):
    """A line of what each side finds with the model that is best on the validation part."""
    cells = []
    for side in (THEIRS, OURS):
        models = [(model, *of) for (by, model), of in tuned.items() if by == side]
        model, _, (_, recall, ndcg, _) = max(models, key=lambda of: round(of[1][0][0], DIGITS))  # the first of equals
        cells += [model, f"{recall:.4f}", f"{ndcg:.4f}"]
    print(f"| {dataset.name} | {dataset.cut} | {' | '.join(cells)} |")


def same_factors(dataset, ours, threads, tuned, results):
    """A line for each size of ALS: both sides trained in turns, so that whatever else
    the machine does slows both."""
    import theirs
    from metrics import evaluate

    split = dataset.test

    def measure(factors, seed):
        their_best = next(of for _, of in tuned[THEIRS, "als"][0] if of["factors"] == factors)
        our_best = next(of for _, of in tuned[OURS, "als"][0] if of["dimensions"] == factors)
        their_seconds, their_top = theirs.als(split.train, threads, 10, seed=seed, **their_best)
        our_seconds, our_top = ours.run(split.train, [{**our_best, "epochs": EPOCHS, "seed": seed}], 10)[0]
        ndcgs = [evaluate(top, split.wanted, 10)[1] for top in (their_top, our_top)]
        return [their_seconds, our_seconds, *ndcgs]

    for factors in FACTORS:
        runs = [
            results.get([dataset.name, "als", factors, seed], lambda: measure(factors, seed)) for seed in SEEDS
        ]
        their_seconds, our_seconds, their_ndcgs, our_ndcgs = zip(*runs)
        ratio = statistics.median(own / other for other, own in zip(their_seconds, our_seconds))
        ndcgs = [f"{statistics.mean(of):.4f} ± {statistics.stdev(of):.4f}" for of in (their_ndcgs, our_ndcgs)]
        print(f"| {dataset.name} | {factors} | {statistics.median(their_seconds):.2f} "
              f"| {statistics.median(our_seconds):.2f} | {ratio:.2f} | {ndcgs[0]} | {ndcgs[1]} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--sets", default="lastfm,tiktok,beauty")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--fresh", action="store_true", help="begin from nothing, environment included")
    arguments = arguments.parse_args()
    in_environment(arguments.fresh)

    import data
    import grids
    import theirs
    from ours import Ours
    from threadpoolctl import threadpool_limits

    def numpy_ease(train, threads, top, **specification):
        with threadpool_limits(threads):
            return theirs.ease(train, threads, top, **specification)

    functions = {"als": theirs.als, "bpr": theirs.bpr, "item-knn": theirs.item_knn, "ease": numpy_ease}

    def their_run(model):
        function = functions[model]
        return lambda train, of, top: function(train, arguments.threads, top, **of)

    sets = [data.load(arguments.data, name) for name in arguments.sets.split(",")]
    built = program()
    ours = Ours(built, arguments.threads)
    our_run = lambda train, of, top: ours.run(train, [of], top)[0]
    sides = {
        THEIRS: {model: (grid, their_run(model)) for model, grid in grids.THEIRS.items()},
        OURS: {model: (grid, our_run) for model, grid in {**grids.OURS, "fusion": grids.fusions}.items()},
    }
    results = Results(results_file(built, arguments.threads))
    all_tuned = [tune(dataset, sides, results) for dataset in sets]
    print("\n### What validation chooses\n")
    print("| set | cut | theirs | Recall or HR | NDCG | ours | Recall or HR | NDCG |\n|---|---|---|---|---|---|---|---|")
    for dataset, tuned in zip(sets, all_tuned):
        chosen(dataset, tuned)
    for dataset, tuned in zip(sets, all_tuned):
        table(dataset, tuned)
    print(f"\n### ALS at the same factors, {EPOCHS} epochs, {len(SEEDS)} seeds\n")
    print("| set | factors | implicit, s | ours, s | ours/implicit | implicit NDCG@10 | ours NDCG@10 |\n"
          "|---|---|---|---|---|---|---|")
    for dataset, tuned in zip(sets, all_tuned):
        same_factors(dataset, ours, arguments.threads, tuned, results)
    print("\n### Item kNN\n\n| set | implicit NDCG@10 | ours NDCG@10 |\n|---|---|---|")
    for dataset, tuned in zip(sets, all_tuned):
        ndcgs = [tuned[side, "item-knn"][1][3] for side in (THEIRS, OURS)]
        print(f"| {dataset.name} | {ndcgs[0]:.4f} | {ndcgs[1]:.4f} |")


if __name__ == "__main__":
    main()
