"""The manifest: what an ONNX file says of itself. The format is `models/README.md`'s."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from . import limits
from .errors import InputError
from .features import FeatureType, Input, schema_hash

KEY = "funnelweb.manifest"
FORMAT = 1
OUTPUT = "score"

_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{limits.NAME_CHARACTERS}}}")


@dataclass(frozen=True)
class Manifest:
    """What a model is, reads and answers."""

    name: str
    version: str
    kind: str
    objective: str
    inputs: tuple[Input, ...]
    metrics: dict[str, float]
    golden_rows: list[dict[str, Any]]
    golden_scores: list[float]

    @property
    def types(self) -> dict[str, FeatureType]:
        """The features it reads, each once."""
        return {column.feature: column.type for each in self.inputs for column in each.columns}

    @property
    def is_order_only(self) -> bool:
        """Its scores order and estimate nothing: such a model was measured without calibration."""
        return "calibration_error" not in self.metrics

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "objective": self.objective,
            "inputs": [each.to_json() for each in self.inputs],
            "output": {"tensor": OUTPUT},
            "schema_hash": schema_hash(self.inputs),
            "metrics": self.metrics,
            "golden": {"rows": self.golden_rows, "scores": self.golden_scores},
        }

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "Manifest":
        """From the file."""
        return cls(
            name=said["name"],
            version=said["version"],
            kind=said["kind"],
            objective=said["objective"],
            inputs=tuple(Input.from_json(each) for each in said["inputs"]),
            metrics=said.get("metrics", {}),
            golden_rows=said["golden"]["rows"],
            golden_scores=said["golden"]["scores"],
        )


def check_name(field: str, value: str) -> str:
    """A name or version, when it is one."""
    if not _NAME.fullmatch(value):
        raise InputError(f"{field} {value!r} must be 1 to {limits.NAME_CHARACTERS} of A-Z a-z 0-9 _ . -")
    return value


def write(manifest: Manifest, graph: onnx.ModelProto, folder: Path) -> None:
    """Writes `model.onnx`, with the manifest in it, and the same beside it as `model.json`."""
    said = manifest.to_json()
    for entry in list(graph.metadata_props):
        graph.metadata_props.remove(entry)
    within = json.dumps(said, separators=(",", ":"), allow_nan=False)
    _check_size("manifest", len(within), limits.MANIFEST_BYTES)
    graph.metadata_props.add(key=KEY, value=within)
    written = graph.SerializeToString(deterministic=True)
    _check_size("model", len(written), limits.ONNX_BYTES)
    (folder / "model.onnx").write_bytes(written)
    beside = said | {"onnx_sha256": hashlib.sha256(written).hexdigest()}
    (folder / "model.json").write_text(json.dumps(beside, indent=1, allow_nan=False) + "\n")


def _check_size(what: str, size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise InputError(f"the {what} has {size_bytes} bytes, more than {limit_bytes}; keep fewer words: --max-values")


def read(path: Path) -> Manifest:
    """The manifest in an ONNX file."""
    try:
        model = onnx.load(path)
        said = next(entry.value for entry in model.metadata_props if entry.key == KEY)
        return Manifest.from_json(json.loads(said))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except StopIteration:
        raise InputError(f"{path}: its metadata_props lack `{KEY}`") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: its `{KEY}` is no manifest: {error!r}") from None
    except Exception as error:  # protobuf's own error has no public name
        raise InputError(f"{path}: not an ONNX file: {error}") from None
