#!/usr/bin/env python3
"""What a ranker in the sandbox costs, and that it scores as onnxruntime does.

    python3 tests/benches/rankers/rankers.py [--rows 300] [--seconds 1]
    python3 tests/benches/rankers/rankers.py --fixtures

The first makes a model of each kind in the sizes of the README, builds the component
and the bench, and prints one table: sandbox, native, onnxruntime and LightGBM, one
thread each, and the largest difference between scores over 10,000 rows. All on this
machine, one after the other.

The second writes `components/ranker/fixtures` anew: small models, and one graph for
each operator, whose golden rows have the scores of onnxruntime.

Everything it makes beside is below `target/rankers`, with a virtual environment that
has what `requirements.txt` lists.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "rankers"
FIXTURES = ROOT / "components/ranker/fixtures"
ROWS = 10_000


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
    os.execv(python, [str(python), *sys.argv])


def fixtures():
    import models
    import numpy as np
    import operators

    FIXTURES.mkdir(exist_ok=True)
    rng = np.random.default_rng
    small = dict(vocabulary=20, dim=4, hidden=(16, 8))
    made = {
        "lightgbm": models.lightgbm(rng(1), 200, trees=10, leaves=7),
        "lightgbm_binary": models.lightgbm(rng(2), 200, trees=10, leaves=7, objective="binary"),
        "lightgbm_lambdarank": models.lightgbm(rng(3), 200, trees=10, leaves=7, objective="lambdarank"),
        "deepfm": models.deepfm(rng(4), 200, count=4, **small),
        "wide_deep": models.wide_deep(rng(5), 200, count=4, numbers=5, **small),
    }
    for name, model in made.items():
        (FIXTURES / f"{name}.onnx").write_bytes(model.file(name, golden=64))
        print(name)
    cases = {}
    for name, model in operators.models():
        cases[name] = base64.b64encode(model.file(name, golden=8)).decode()
        print(name)
    (FIXTURES / "operators.json").write_text(json.dumps(cases, indent=0) + "\n")


def best_ms(run, seconds):
    """The fastest of many runs: what others do on the machine only adds."""
    run()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return 1000 * best


def bench(rows, seconds):
    import models
    import numpy as np

    rng = np.random.default_rng
    made = {
        "lightgbm": models.lightgbm(rng(1), ROWS, trees=100, leaves=31),
        "deepfm": models.deepfm(rng(2), ROWS),
        "wide_deep": models.wide_deep(rng(3), ROWS),
    }
    folder = WORK / "models"
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in made.items():
        (folder / f"{name}.onnx").write_bytes(model.file(name, golden=64))
        (folder / f"{name}.json").write_text(json.dumps(model.data()))
    subprocess.run(
        ["cargo", "build", "--profile", "guest", "--target", "wasm32-wasip2", "-p", "rank-onnx"], check=True, cwd=ROOT
    )
    component = TARGET / "wasm32-wasip2/guest/rank_onnx.wasm"
    # With the features that all others are built with, and as fast as it gets.
    build = ["cargo", "build", "--profile", "bench", "--quiet", "--workspace", "--bin", "funnelweb-ranker-bench"]
    subprocess.run(build, check=True, cwd=ROOT)
    command = [TARGET / "release/funnelweb-ranker-bench", component, folder, str(rows), str(seconds)]
    ours = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    ours = [json.loads(line) for line in ours.splitlines()]
    print(f"\n{rows} candidates, ms, the fastest of the runs of {seconds} s; one thread\n")
    print("| model | sandbox | native | onnxruntime | LightGBM | largest difference | load | image |")
    print("|---|---|---|---|---|---|---|---|")
    for line in ours:
        model = made[line["model"]]
        cells = {name: values[:rows] for name, values in model.cells().items()}
        run, output = models.session(model.graph), [model.output()]
        other = best_ms(lambda: run.run(output, cells), seconds)
        trees = "—"
        if model.kind == "lightgbm":
            matrix = model.matrix[:rows]
            trees = f"{best_ms(lambda: model.booster.predict(matrix, num_threads=1), seconds):.3f}"
        print(
            f"| {line['model']} | {line['sandbox_ms']:.3f} | {line['native_ms']:.3f} | {other:.3f} | {trees} "
            f"| {line['difference']:.1e} | {line['load_ms']:.0f} ms | {line['image_bytes'] / 1e6:.1f} MB |"
        )
    print(f"\nthe component has {component.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--fixtures", action="store_true")
    arguments = parser.parse_args()
    in_environment()
    if arguments.fixtures:
        fixtures()
    else:
        bench(arguments.rows, arguments.seconds)
