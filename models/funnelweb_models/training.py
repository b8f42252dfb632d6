"""From a log to a folder with a model: the whole of `train`.

1. read the log; 2. the baseline; 3. the model; 4. write the graph; 5. measure what was
written, in onnxruntime; 6. golden rows, manifest, report.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import deep, golden, layout, limits, linear, manifest, metrics, report, trees, vocabulary
from .errors import InputError
from .kinds import Kind, Trained
from .log import Log, Part, read
from .objective import Objective
from .rows import Rows
from .scoring import Session

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What `train` is told."""

    kind: Kind
    objective: Objective
    name: str
    version: str
    lambdarank: bool = False
    seed: int = 1
    words: vocabulary.Options = field(default_factory=vocabulary.Options)

    def check(self) -> None:
        """Before any work."""
        manifest.check_name("name", self.name)
        manifest.check_name("version", self.version)
        if self.lambdarank and self.kind is not Kind.LIGHTGBM:
            raise InputError(f"--lambdarank is for kind `lightgbm`, not for `{self.kind}`")


def train(data: Path, settings: Settings, out: Path, say: Say = lambda _: None) -> dict[str, float]:
    """Trains, measures and writes a model; gives its metrics on the test part."""
    settings.check()
    say(f"reading {data}")
    log = read(data)
    settings.objective.check(settings.objective.labels(log.train))
    say(f"fitting the linear baseline to {log.train.rows.count} rows")
    view = deep.View.learned(layout.deep(log.train, settings.words), log.train)
    baseline, baseline_scores = _baseline(log, view, settings.objective)
    say(f"training {settings.kind}")
    trained = _trained(log, view, baseline, settings)
    session = Session(trained.graph.SerializeToString(), trained.inputs)
    say(f"measuring on {log.test.rows.count} rows")
    scores = session.score(log.test.rows)
    measured = _measured(settings, scores, log.test)
    rows = golden.rows(trained.inputs, log.test.rows, settings.seed)
    said = manifest.Manifest(
        name=settings.name,
        version=settings.version,
        kind=settings.kind.value,
        objective=settings.objective.name,
        inputs=trained.inputs,
        metrics=measured,
        golden_rows=rows,
        golden_scores=[],
    )
    said.golden_scores.extend(map(float, session.score(Rows.from_json(rows, said.types))))
    out.mkdir(parents=True, exist_ok=True)
    manifest.write(said, trained.graph, out)
    of_baseline = metrics.measured(
        settings.objective, False, baseline_scores, settings.objective.labels(log.test), log.test.requests
    )
    _write_metrics(out, log, settings, measured, of_baseline)
    say("measuring how much each feature counts")
    importance = _importance(trained, session, log.test, settings)
    findings = report.Findings(
        manifest=said,
        log=log,
        objective=settings.objective,
        order_only=settings.lambdarank,
        trained=trained,
        scores=scores,
        baseline=of_baseline,
        baseline_scores=baseline_scores,
        importance=importance,
        seed=settings.seed,
    )
    (out / "report.html").write_text(report.page(findings))
    return measured


def _baseline(log: Log, view: deep.View, objective: Objective) -> tuple[linear.Linear, NDArray[np.float32]]:
    """The fitted baseline, and its estimates on the test part."""
    train, valid, test = (view.example(part.rows, objective.labels(part)) for part in (log.train, log.valid, log.test))
    model = linear.fitted(objective, train, valid)
    return model, objective.mean(model.raw(test))


def _trained(log: Log, view: deep.View, baseline: linear.Linear, settings: Settings) -> Trained:
    if settings.kind is Kind.LIGHTGBM:
        inputs = layout.trees(log.train, settings.objective.labels(log.train), settings.words)
        return trees.train(log, inputs, settings.objective, settings.lambdarank, settings.seed)
    return deep.train(settings.kind, log, view, baseline, settings.objective, settings.seed)


def _measured(settings: Settings, scores: NDArray[np.float32], part: Part) -> dict[str, float]:
    return metrics.measured(
        settings.objective, settings.lambdarank, scores, settings.objective.labels(part), part.requests
    )


def _write_metrics(
    out: Path, log: Log, settings: Settings, measured: dict[str, float], baseline: dict[str, float]
) -> None:
    """For machines; `push` reads the scenario here."""
    said = {
        "scenario_id": log.scenario_id,
        "name": settings.name,
        "version": settings.version,
        "kind": settings.kind.value,
        "objective": settings.objective.name,
        "lambdarank": settings.lambdarank,
        "seed": settings.seed,
        "rows": {split: part.rows.count for split, part in log.parts.items()},
        "test": measured,
        "baseline": baseline,
    }
    (out / "metrics.json").write_text(json.dumps(said, indent=1, allow_nan=False) + "\n")


def _importance(trained: Trained, session: Session, test: Part, settings: Settings) -> dict[str, float]:
    """By how much the main metric is worse when a feature's values are dealt out anew (Breiman 2001)."""
    random = np.random.default_rng(settings.seed)
    chosen = np.sort(random.permutation(test.rows.count)[: limits.IMPORTANCE_ROWS])
    rows, requests = test.rows.take(chosen), test.requests[chosen]
    labels = settings.objective.labels(test)[chosen]

    def loss(of: Rows) -> float:
        measured = metrics.measured(settings.objective, settings.lambdarank, session.score(of), labels, requests)
        return report.main_loss(measured)

    whole = loss(rows)
    features = dict.fromkeys(column.feature for each in trained.inputs for column in each.columns)
    return {name: loss(rows.shuffled(name, random.permutation)) - whole for name in features}
