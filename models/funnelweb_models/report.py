"""The report of a training: one HTML file that needs nothing else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np
from numpy.typing import NDArray

from . import metrics, plots
from .kinds import Trained
from .log import Log, Part
from .manifest import Manifest
from .objective import Objective

POSITIONS = 20
"""Places of a slate that are shown."""
FEATURES = 30
"""Features whose importance is shown."""

_NAMES = {
    "auc": "AUC",
    "ndcg_at_10": "NDCG@10 by request",
    "log_loss": "Log-loss",
    "calibration_error": "Calibration error (ECE)",
    "mean_absolute_error": "Mean absolute error",
    "root_mean_square_error": "Root mean square error",
}
_HIGHER_IS_BETTER = {"auc", "ndcg_at_10"}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .6rem 0 } td, th { padding: .25rem .8rem; border-bottom: 1px solid #d8dee4 }
td:not(:first-child), th:not(:first-child) { text-align: right } th { text-align: left }
svg { font: 11px system-ui, sans-serif; max-width: 100% } .row { display: flex; flex-wrap: wrap; gap: 1rem }
code { background: #f6f8fa; padding: 0 .25rem } .better { color: #1a7f37 } .worse { color: #cf222e }
"""


@dataclass(frozen=True)
class Findings:
    """What a report tells."""

    manifest: Manifest
    log: Log
    objective: Objective
    order_only: bool
    trained: Trained
    scores: NDArray[np.float32]
    baseline: dict[str, float]
    baseline_scores: NDArray[np.float32]
    importance: dict[str, float]
    seed: int


def main_loss(measured: dict[str, float]) -> float:
    """The one number that a feature's importance is told by, lower is better."""
    for name in ("log_loss", "root_mean_square_error"):
        if name in measured:
            return measured[name]
    return -measured.get("ndcg_at_10", 0.0)


def page(found: Findings) -> str:
    """The whole page."""
    said = found.manifest
    sections = [
        f"<h1>{escape(said.name)} {escape(said.version)}</h1>",
        _summary(found),
        "<h2>On the test part</h2>",
        _comparison(said.metrics, found.baseline),
        '<div class="row">',
        _training_curve(found.trained),
        "" if found.order_only else _reliability(found),
        "</div>",
        "<h2>By position</h2>",
        _by_position(found),
        "<h2>What each feature counts</h2>",
        _importance(found.importance),
        "<h2>The log</h2>",
        _log(found),
        "<h2>What the model reads</h2>",
        _inputs(said),
    ]
    head = f'<meta charset="utf-8"><title>{escape(said.name)} {escape(said.version)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(sections)}</body></html>\n'


def _summary(found: Findings) -> str:
    said = found.manifest
    estimates = "orders by" if found.order_only else "estimates"
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.trained.notes)
    return (
        f"<p>A model of kind <code>{said.kind}</code> for scenario <code>{escape(found.log.scenario_id)}</code>, "
        f"which {estimates} <code>{said.objective}</code>. Seed {found.seed}.</p><ul>{notes}</ul>"
    )


def _comparison(measured: dict[str, float], baseline: dict[str, float]) -> str:
    rows = []
    for name, value in measured.items():
        other = baseline.get(name)
        better = None if other is None else (value > other) == (name in _HIGHER_IS_BETTER)
        mark = "" if better is None else f' class="{"better" if better else "worse"}"'
        of_baseline = "" if other is None else f"{other:.5f}"
        rows.append(f"<tr><td>{_NAMES[name]}</td><td{mark}>{value:.5f}</td><td>{of_baseline}</td></tr>")
    head = "<tr><th></th><th>this model</th><th>linear model, same features</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _training_curve(trained: Trained) -> str:
    curves = [
        plots.Line("train", [(each.step, each.train) for each in trained.rounds]),
        plots.Line("valid", [(each.step, each.valid) for each in trained.rounds]),
    ]
    return plots.lines(curves, "round", trained.loss_name)


def _reliability(found: Findings) -> str:
    labels = found.objective.labels(found.log.test)
    curves = [
        plots.Line(name, [(each.predicted, each.observed) for each in metrics.calibration(scores, labels)])
        for name, scores in (("this model", found.scores), ("linear model", found.baseline_scores))
    ]
    ends = [value for line in curves for point in line.points for value in point]
    curves.append(plots.Line("as it should be", [(min(ends), min(ends)), (max(ends), max(ends))], dashed=True))
    return plots.lines(curves, "estimate (mean of a tenth of the rows)", "observed", same_scale=True)


def _by_position(found: Findings) -> str:
    """What was seen at each place, and what the model would have said, which knows no place."""
    part, labels = found.log.test, found.objective.labels(found.log.test)
    places = list(np.unique(part.positions)[:POSITIONS])
    curves = [_mean_by_place("observed", labels, part, places)]
    if not found.order_only:
        curves.append(_mean_by_place("estimate", found.scores, part, places))
    within = _auc_within_place(found.scores, labels, part)
    told = "" if within is None else f" Between rows of one place its AUC is {within:.5f}."
    return (
        "<p>What stands first is seen and taken more, whatever it is. The model is not told the place, so where "
        "the log was ordered by a good ranker it owes a part of its AUC to the order that was shown."
        f"{told} Where observed and estimate run apart, the place itself counts.</p>"
        + plots.lines(curves, "place in the slate, from 0", "mean")
    )


def _mean_by_place(name: str, values: NDArray[np.float32], part: Part, places: Sequence[int]) -> plots.Line:
    return plots.Line(name, [(float(place), float(values[part.positions == place].mean())) for place in places])


def _auc_within_place(scores: NDArray[np.float32], labels: NDArray[np.float32], part: Part) -> float | None:
    """The mean AUC of the places, weighted by their rows."""
    values, weights = [], []
    for place in np.unique(part.positions):
        rows = part.positions == place
        value = metrics.auc(scores[rows], labels[rows])
        if value is not None:
            values.append(value)
            weights.append(int(rows.sum()))
    return float(np.average(values, weights=weights)) if values else None


def _importance(importance: dict[str, float]) -> str:
    largest = sorted(importance.items(), key=lambda each: -each[1])[:FEATURES]
    text = "<p>By how much the loss (of an order: NDCG) is worse when the feature's values are dealt out anew.</p>"
    return text + plots.bars(largest)


def _log(found: Findings) -> str:
    rows = "".join(_log_row(split, part, found.objective) for split, part in found.log.parts.items())
    head = "<tr><th>part</th><th>rows</th><th>requests</th><th>from</th><th>to</th><th>mean label</th></tr>"
    return f"<table>{head}{rows}</table>"


def _log_row(split: str, part: Part, objective: Objective) -> str:
    cells: Iterable[str] = (
        f"{part.rows.count:,}",
        f"{len(np.unique(part.requests)):,}",
        _time(part.shown_at_ms.min()),
        _time(part.shown_at_ms.max()),
        f"{objective.labels(part).mean():.4f}",
    )
    return f"<tr><td>{split}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _inputs(said: Manifest) -> str:
    rows = []
    for feature, kind in said.types.items():
        columns = [column for each in said.inputs for column in each.columns if column.feature == feature]
        words = sum(len(column.vocabulary) for column in columns)
        rows.append(f"<tr><td><code>{escape(feature)}</code></td><td>{kind}</td><td>{words or ''}</td></tr>")
    return f"<table><tr><th>feature</th><th>type</th><th>words known</th></tr>{''.join(rows)}</table>"
