"""Uploads a trained model to a Funnelweb server, activates it when asked to, and has it score rows there."""

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import limits, manifest
from .errors import InputError
from .rows import Rows


@dataclass(frozen=True)
class Server:
    """Where to, and as whom."""

    url: str
    tenant: str
    token: str | None

    def post(
        self, path: str, query: dict[str, str], body: bytes, content_type: str = "application/octet-stream"
    ) -> str:
        """One call; gives the answer's body."""
        address = f"{self.url.rstrip('/')}{path}?{urllib.parse.urlencode(query)}"
        if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
            raise InputError(f"url {self.url!r} must begin with http:// or https://")
        request = urllib.request.Request(address, data=body, headers=self._headers(content_type), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=limits.HTTP_TIMEOUT_SECONDS) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise InputError(f"POST {path}: {error.code} {error.read().decode(errors='replace').strip()}") from None
        except (urllib.error.URLError, OSError) as error:
            raise InputError(f"POST {path}: {getattr(error, 'reason', error)}") from None

    def _headers(self, content_type: str) -> dict[str, str]:
        headers = {
            "Content-Type": content_type,
            "X-Tenant-Id": self.tenant,
            "X-Request-Id": str(uuid.uuid4()),
        }
        return headers if self.token is None else headers | {"Authorization": f"Bearer {self.token}"}


def push(server: Server, folder: Path, scenario: str | None, activate: bool) -> list[str]:
    """Uploads `model.onnx`; gives the server's answers."""
    said = manifest.read(folder / "model.onnx")
    query = {"scenario_id": scenario or _scenario(folder)}
    answers = [server.post("/api/v1/models", query, (folder / "model.onnx").read_bytes())]
    if activate:
        answers.append(server.post(f"/api/v1/models/{said.name}/versions/{said.version}/activate", query, b""))
    return answers


def _scenario(folder: Path) -> str:
    """The scenario that the model was trained for."""
    path = folder / "metrics.json"
    try:
        said: dict[str, Any] = json.loads(path.read_text())
        return str(said["scenario_id"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: no `scenario_id` there ({error}); say it with --scenario") from None


def predict(server: Server, scenario: str, said: manifest.Manifest, rows: Rows) -> NDArray[np.float32]:
    """The score that the server's sandbox gives each row, by the uploaded version."""
    path = f"/api/v1/models/{said.name}:predict"
    query = {"scenario_id": scenario, "version": said.version}
    scores: list[float] = []
    for at in range(0, rows.count, limits.PREDICT_ROWS):
        part = rows.take(np.arange(at, min(at + limits.PREDICT_ROWS, rows.count)))
        answer = server.post(path, query, json.dumps({"rows": part.to_json()}).encode(), "application/json")
        scores += json.loads(answer)["scores"]
    return np.array(scores, np.float32)
