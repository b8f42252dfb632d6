"""Real servers, each on a free port with a folder of its own, that end with the test.

Kafka and FerretDB are those that the tests in Rust fetch into the user's cache folder
(`cargo xtask kafka`, `cargo xtask ferretdb`); Redis is the machine's.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

START_S = 120.0
JAVA = ["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "funnelweb"


class Server:
    """A process and all that it starts."""

    def __init__(
        self, arguments: list[str], folder: Path, port: int, environment: dict[str, str] | None = None
    ) -> None:
        self.port, self._log = port, folder / "log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until it takes connections."""
        end = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self.stop()
                    raise RuntimeError(f"did not start:\n{self.log()}") from None
                time.sleep(0.05)

    def check(self) -> None:
        """That it still runs."""
        assert self._process.poll() is None, self.log()

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-20_000:]

    def stop(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()

    def __enter__(self) -> "Server":
        self.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def redis_server(folder: Path) -> Server:
    port, program = free_port(), os.environ.get("FUNNELWEB_REDIS_SERVER", "redis-server")
    return Server([program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], _made(folder), port)


def ferretdb(folder: Path) -> Server:
    port = free_port()
    program = os.environ.get("FUNNELWEB_FERRETDB") or str(cache() / "ferretdb-v1.24.0/ferretdb")
    own = ["--handler=sqlite", "--debug-addr=-", "--state-dir=-", "--telemetry=disable", "--log-level=error"]
    places = [f"--listen-addr=127.0.0.1:{port}", f"--sqlite-url=file:{_made(folder)}/"]
    return Server([program, *own, *places], folder, port)


def kafka(folder: Path) -> Server:
    whole, port, controller = cache() / "kafka", free_port(), free_port()
    shutil.copytree(whole / "formatted", _made(folder) / "data")
    lines = (whole / "format.properties").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("log.dirs=")] + [f"log.dirs={folder}/data"]
    text = "\n".join(lines).replace("127.0.0.1:9092", f"127.0.0.1:{port}")
    properties = folder / "server.properties"
    properties.write_text(text.replace("127.0.0.1:9093", f"127.0.0.1:{controller}"))
    return Server(["java", *JAVA, "-cp", f"{whole}/jars/*", "kafka.Kafka", str(properties)], folder, port)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
