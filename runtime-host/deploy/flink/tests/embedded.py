"""The embedded engine: what it makes of events that come over HTTP."""

import json
import re
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .conftest import components
from .servers import ROOT

Json = dict[str, Any]
BINARY = ROOT / "target/release/funnelweb"
SCENARIO = {
    "scenario_id": "feed",
    "scenario_type": "test",
    "config": {"recall": {"strategies": [{"name": "hot_items", "weight": 1.0, "limit": 100}]}},
}


def eventually(what: str, look: Callable[[], Any], seconds: float = 400.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.2)


class Embedded:
    def __init__(self, folder: Path, tenant: str) -> None:
        self._folder, self._tenant = folder, tenant
        folder.mkdir()
        manifest = (ROOT / "spin.toml").read_text()
        built = str(components())
        self._whole = re.sub(r'(?<=")target/wasm32-wasip2/guest', built, manifest)
        # Without the operators, so that the log is there before they follow it: one that rests is
        # followed by the clock, and all that is old would be late.
        self._bare = re.sub(r"\n\[component\.stream-[^\0]*?(?=\n\[component\.(?!stream-)|\Z)", "\n", self._whole)

    @contextmanager
    def up(self, operators: bool) -> Iterator[None]:
        manifest = self._folder / "spin.toml"
        manifest.write_text(self._whole if operators else self._bare)
        arguments = ["up", "--from", str(manifest), "--listen", "127.0.0.1:0", "--data-dir", str(self._folder / "data")]
        log = (self._folder / "log").open("w+")
        process = subprocess.Popen([str(BINARY), *arguments], cwd=ROOT, stdout=log, stderr=log)
        try:

            def listens() -> re.Match[str] | None:
                assert process.poll() is None, (self._folder / "log").read_text()
                return re.search(r"Listening on (\S+)", (self._folder / "log").read_text())

            self._url = eventually("the host listens", listens)[1]
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()

    def call(self, path: str, lines: list[Json] | Json | None = None) -> str:
        headers = {"x-tenant-id": self._tenant, "x-user-id": "ann", "x-request-id": "r", "authorization": "Bearer t"}
        data = None
        if isinstance(lines, list):
            data, headers["content-type"] = "\n".join(map(json.dumps, lines)).encode(), "application/x-ndjson"
        elif lines is not None:
            data, headers["content-type"] = json.dumps(lines).encode(), "application/json"
        request = urllib.request.Request(self._url + path, data=data, headers=headers)
        with urllib.request.urlopen(request) as response:
            answer: str = response.read().decode()
            return answer

    def settle(self) -> None:
        """Until operators have taken the log, and windows have said what they have to say."""
        own, said = f'funnelweb_stream_behind_seconds{{tenant="{self._tenant}"}}', [-1] * 8

        def is_still() -> bool:
            said.append(len(self.messages()))
            behind = any(line.startswith(own) for line in self.call("/metrics").splitlines())
            return not behind and len(set(said[-8:])) == 1

        eventually("operators take the log", is_still)

    def counters(self) -> dict[str, float]:
        label = f'tenant="{self._tenant}"'
        counters = {}
        for line in self.call("/metrics").splitlines():
            if label in line and not line.startswith("funnelweb_stream_"):
                name, value = line.rsplit(" ", 1)
                counters[name.replace(label + ",", "").replace("{" + label + "}", "")] = float(value)
        return counters

    def messages(self) -> list[tuple[str, str, Json]]:
        [file] = (self._folder / "data/tenants").glob("*.db")
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            rows = database.execute('SELECT topic, key, body FROM topics ORDER BY topic, "offset"').fetchall()
        database.close()
        return [(topic, key, json.loads(body)) for topic, key, body in rows]

    def export(self) -> list[Json]:
        return export(self._tenant, self._folder / "export.ndjson", ["--data-dir", str(self._folder / "data")])


def export(tenant: str, file: Path, stores: list[str]) -> list[Json]:
    """Everything that a tenant has, record by record."""
    file.unlink(missing_ok=True)
    done = subprocess.run(
        [str(BINARY), "export", "--tenant", tenant, *stores, str(file)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in file.read_text().splitlines()]
