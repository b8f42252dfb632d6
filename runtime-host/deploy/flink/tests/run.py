"""All tests, or those that arguments to pytest name: `python3 runtime-host/deploy/flink/tests/run.py`.

What they need comes once into the user's cache folder: an environment with what `pyproject.toml`
names (a gigabyte, some minutes) and the jars of `pom.xml`. Kafka and FerretDB are those of
`cargo xtask kafka` and `cargo xtask ferretdb`, Redis is the machine's. The components and the
host must be built.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import tomllib

PACKAGE = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "funnelweb/flink"


def make(name: str, made_of: bytes, *commands: list[str]) -> None:
    """Unless it was made of the same before."""
    mark, digest = CACHE / f"{name}.whole", hashlib.sha256(made_of).hexdigest()
    if mark.is_file() and mark.read_text() == digest:
        return
    print(f"fetching {name} for Flink, once", flush=True)
    for command in commands:
        subprocess.run(command, check=True)
    mark.write_text(digest)


def main() -> int:
    CACHE.mkdir(parents=True, exist_ok=True)
    pom, environment = PACKAGE / "pom.xml", CACHE / "environment"
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    needs = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    python = str(environment / "bin/python")
    make(
        "environment",
        "\n".join(needs).encode(),
        [sys.executable, "-m", "venv", "--clear", str(environment)],
        [python, "-m", "pip", "install", "--quiet", "setuptools<81", "wheel"],
        [python, "-m", "pip", "install", "--quiet", *needs],
    )
    maven = ["mvn", "--batch-mode", "--quiet", "dependency:copy-dependencies", "--file", str(pom)]
    make("jars", pom.read_bytes(), [*maven, f"-DoutputDirectory={CACHE / 'jars'}"])
    for check in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy", "funnelweb_flink"]):
        run_in_package([python, "-m", *check])
    return run_in_package([python, "-m", "pytest", "-p", "no:cacheprovider", *sys.argv[1:]])


def run_in_package(command: list[str]) -> int:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MYPY_CACHE_DIR": str(CACHE / "mypy")}
    done = subprocess.run(command, cwd=PACKAGE, env=environment | {"RUFF_NO_CACHE": "true"}, check=False)
    if done.returncode and "pytest" not in command:
        sys.exit(done.returncode)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
