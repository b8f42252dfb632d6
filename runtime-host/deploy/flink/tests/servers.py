"""Real servers, each on a free port with a folder of its own, that end with the test.

They are those of the tests in Rust: Kafka and FerretDB in the user's cache folder; Redis where
`$FUNNELWEB_REDIS_SERVER` names it, on the path, or in `target/servers`.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

# The repository, or `$FUNNELWEB_ROOT`: one that is built.
ROOT = Path(os.environ.get("FUNNELWEB_ROOT") or Path(__file__).resolve().parents[4])
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
    port, unpacked = free_port(), str(ROOT / "target/servers/redis/bin/redis-server")
    program = os.environ.get("FUNNELWEB_REDIS_SERVER") or shutil.which("redis-server") or unpacked
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
    # One that is killed leaves files there.
    java = ["java", *JAVA, f"-Djava.io.tmpdir={folder}", "-cp", f"{whole}/jars/*"]
    return Server([*java, "kafka.Kafka", str(properties)], folder, port)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
