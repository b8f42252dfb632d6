"""The command line, as somebody types it; `push` against a server on this machine."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from funnelweb_models import scoring
from funnelweb_models.__main__ import main
from funnelweb_models.rows import Rows

from . import synthetic
from .conftest import Make


def test_a_log_is_scored_and_measured(
    make: Make, log_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make("lightgbm")
    assert main(["predict", "--data", str(log_path), "--model", str(made.onnx), "--out", str(tmp_path / "scores")]) == 0
    scores = pq.read_table(tmp_path / "scores")
    assert scores.column_names == ["request_id", "item_id", "score"]
    assert scores.num_rows == 25_000
    assert main(["evaluate", "--data", str(log_path), "--model", str(made.onnx)]) == 0
    assert json.loads(capsys.readouterr().out) == made.json("metrics.json")["test"]


WRONG = [
    (["--kind", "forest"], "kind 'forest' is none of: lightgbm, deepfm, wide_deep"),
    (["--objective", "joy"], "objective 'joy' is none of: click_rate, watch_time, conversion"),
    (["--kind", "deepfm", "--lambdarank"], "--lambdarank is for kind `lightgbm`, not for `deepfm`"),
    (["--version", "1 2"], "version '1 2' must be 1 to 63 of"),
]


@pytest.mark.parametrize(("more", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_fault_is_one_line(
    more: list[str], said: str, log_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data", str(log_path), "--kind", "lightgbm", "--version", "v1", "--out", str(tmp_path), *more]
    assert main(command) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ")
    assert said in lines[-1]
    assert not list(tmp_path.iterdir())


def test_a_label_that_never_varies_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = synthetic.log(100)
    at = table.column_names.index("label_conversion")
    table = table.set_column(at, "label_conversion", [[0.0] * table.num_rows]).cast(table.schema)
    data = synthetic.written(table, tmp_path / "log.parquet")
    command = ["train", "--data", str(data), "--kind", "deepfm", "--objective", "conversion", "--version", "v1"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 1
    assert "column `label_conversion` is 0 in every row of `train`" in capsys.readouterr().err


def test_a_log_without_the_model_s_features_is_told(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = synthetic.written(synthetic.log(20).drop_columns(["item:category"]), tmp_path / "log.parquet")
    model = str(make("lightgbm").onnx)
    assert main(["predict", "--data", str(data), "--model", model, "--out", str(tmp_path / "scores")]) == 1
    assert "column `item:category` is missing; the model reads it" in capsys.readouterr().err
    (tmp_path / "text").write_text("text")
    assert main(["evaluate", "--data", str(data), "--model", str(tmp_path / "text")]) == 1
    assert "not an ONNX file" in capsys.readouterr().err


class Server(HTTPServer):
    """Remembers what it was sent."""

    calls: list[dict[str, Any]]
    status = 201

    def answer(self, _: bytes) -> bytes:
        """To a body."""
        return b'{"told": true}'


class Handler(BaseHTTPRequestHandler):
    """Answers every call with the server's status."""

    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append({"path": self.path, "headers": dict(self.headers), "body": body})
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answer(body))

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """Serves on a free port."""
    with Server(("127.0.0.1", 0), Handler) as made:
        made.calls = []
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def push(server: Server, folder: Path, *more: str) -> int:
    url = f"http://127.0.0.1:{server.server_port}/"
    return main(["push", "--url", url, "--tenant", "acme", "--token", "secret", *more, str(folder)])


def test_a_model_is_uploaded_and_activated(make: Make, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    made = make("lightgbm")
    assert push(server, made.folder, "--activate") == 0
    upload, activation = server.calls
    assert upload["path"] == "/api/v1/models?scenario_id=demo"
    assert upload["body"] == made.onnx.read_bytes()
    assert upload["headers"]["Content-Type"] == "application/octet-stream"
    assert upload["headers"]["X-Tenant-Id"] == "acme"
    assert upload["headers"]["Authorization"] == "Bearer secret"
    assert upload["headers"]["X-Request-Id"] != activation["headers"]["X-Request-Id"]
    assert activation["path"] == "/api/v1/models/lightgbm/versions/v1/activate?scenario_id=demo"
    assert capsys.readouterr().out == '{"told": true}\n' * 2


def test_a_refusal_is_told(make: Make, server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    server.status = 422
    assert push(server, make("lightgbm").folder, "--activate", "--scenario", "other feed") == 1
    assert [call["path"] for call in server.calls] == ["/api/v1/models?scenario_id=other+feed"]
    assert capsys.readouterr().err == 'error: POST /api/v1/models: 422 {"told": true}\n'
    assert push(server, tmp_path) == 1
    assert "model.onnx: there is no such file" in capsys.readouterr().err


def test_a_server_may_score(
    make: Make, log_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make("deepfm")
    said, session = scoring.opened(made.onnx)

    def answer(body: bytes) -> bytes:
        rows = Rows.from_json(json.loads(body)["rows"], said.types)
        return json.dumps({"scores": session.score(rows).tolist()}).encode()

    monkeypatch.setattr(server, "answer", answer)
    command = ["evaluate", "--data", str(log_path), "--model", str(made.onnx)]
    assert main(command) == 0
    here = json.loads(capsys.readouterr().out)
    assert main([*command, "--url", f"http://127.0.0.1:{server.server_port}", "--tenant", "acme"]) == 0
    there = json.loads(capsys.readouterr().out)
    assert there == pytest.approx(here, abs=1e-6)
    assert {call["path"] for call in server.calls} == {"/api/v1/models/deepfm:predict?scenario_id=demo&version=v1"}
    assert main([*command, "--url", "http://127.0.0.1:1"]) == 1
    assert "--url needs --tenant" in capsys.readouterr().err
