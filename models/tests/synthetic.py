"""A made-up log of which the truth is known, as `funnelweb export-training` would write it.

Whether somebody clicks depends on a cross of two categorical features, on a bend in a
number, on tags in favour, on the place in the slate, and on luck.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

CATEGORIES = ("music", "sport", "news", "food", "travel", "games", "film", "dance")
TAGS = tuple(f"tag_{number}" for number in range(12))
SEGMENTS = ("young", "parents", "students", "retired")
SLATE = 10
START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class World:
    """What clicks come from."""

    liking: NDArray[np.float64]
    """By segment and category."""
    tag_effect: NDArray[np.float64]

    @classmethod
    def made(cls, random: np.random.Generator) -> "World":
        return cls(random.normal(0, 1.2, (len(SEGMENTS), len(CATEGORIES))), random.normal(0, 0.5, len(TAGS)))


def log(requests: int = 3000, seed: int = 7) -> pa.Table:
    """`requests` slates of ten."""
    random = np.random.default_rng(seed)
    world = World.made(random)
    count = requests * SLATE
    segment = np.repeat(random.integers(0, len(SEGMENTS), requests), SLATE)
    category = random.choice(len(CATEGORIES), count, p=_skewed(len(CATEGORIES)))
    tags = [random.choice(len(TAGS), random.integers(0, 4), replace=False, p=_skewed(len(TAGS))) for _ in range(count)]
    duration = random.gamma(2.0, 30.0, count).astype(np.float32)
    views = np.exp(random.normal(4, 2.5, count)).astype(np.float32)
    age = random.exponential(24, count).astype(np.float32)
    missing = random.random(count) < 0.15
    position = np.tile(np.arange(SLATE), requests)
    raw = (
        -1.9
        + world.liking[segment, category]
        - 1.5 * (np.abs(duration - 60) > 35)
        + np.array([world.tag_effect[each].sum() for each in tags])
        + 0.15 * np.log1p(views)
        - 0.8 * missing
        - 0.08 * position
    )
    chance = 1 / (1 + np.exp(-raw))
    click = (random.random(count) < chance).astype(np.float32)
    watch = click * random.gamma(2.0, 5 + 20 * chance).astype(np.float32)
    convert = click * (random.random(count) < 0.3 * chance).astype(np.float32)
    request = np.repeat(np.arange(requests), SLATE)
    columns = {
        "request_id": [f"r{each}" for each in request],
        "user_id": [f"u{each % 997}" for each in request],
        "item_id": [f"i{each}" for each in random.integers(0, 500, count)],
        "position": pa.array(position, pa.int32()),
        "shown_at_ms": pa.array(START_MS + request * 60_000, pa.int64()),
        "scenario_id": ["demo"] * count,
        "split": [_split(each / requests) for each in request],
        "label_click": click,
        "label_watch_time": watch.astype(np.float32),
        "label_conversion": convert.astype(np.float32),
        "item:duration": pa.array(duration, mask=missing),
        "item:view_count": views,
        "item:published": age,
        "item:constant": np.zeros(count, np.float32),
        "item:category": pa.array([CATEGORIES[each] for each in category], mask=random.random(count) < 0.05),
        "item:tags": pa.array(
            [None if random.random() < 0.05 else [TAGS[tag] for tag in each] for each in tags], pa.list_(pa.string())
        ),
        "user:segment": [SEGMENTS[each] for each in segment],
        "user:rare": [f"only_{each}" for each in request],
    }
    return with_types(pa.table(columns))


TYPES = {
    "item:duration": "numeric",
    "item:view_count": "numeric",
    "item:published": "timestamp",
    "item:constant": "numeric",
    "item:category": "categorical",
    "item:tags": "multi_categorical",
    "user:segment": "categorical",
    "user:rare": "categorical",
}


def with_types(table: pa.Table, types: dict[str, str] = TYPES) -> pa.Table:
    """With the metadata that the exporter writes."""
    about = {"scenario_id": "demo", "exported_at_ms": START_MS, "window_ms": 86_400_000, "features": types}
    return table.replace_schema_metadata({"funnelweb.scenario": json.dumps(about)})


def written(table: pa.Table, path: Path) -> Path:
    pq.write_table(table, path)
    return path


def _split(part: float) -> str:
    return "train" if part < 0.7 else "valid" if part < 0.85 else "test"


def _skewed(count: int) -> NDArray[np.float64]:
    weights = 1 / np.arange(1, count + 1) ** 0.7
    return weights / weights.sum()
