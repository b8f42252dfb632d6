"""Linter, types and tests: `python3 runtime-host/deploy/flink/tests/run.py`. Arguments go to pytest.

What they need comes once into the user's cache folder: an environment with what `pyproject.toml`
names (a gigabyte, a minute or two) and the jars of `pom.xml`. The components and the host must be
built, and the servers be there that `servers.py` starts: `cargo xtask test --only flink` sees to
those, and runs this.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "funnelweb/flink"


def make(name: str, made_of: str, *commands: list[str]) -> None:
    """A folder of the cache, unless it was made of the same before."""
    folder, mark = CACHE / name, CACHE / f"{name}.whole"
    if mark.is_file() and mark.read_text() == made_of:
        return
    print(f"fetching {name} for Flink, once", flush=True)
    mark.unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    for command in commands:
        subprocess.run(command, check=True)
    mark.write_text(made_of)


def main() -> int:
    CACHE.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    needs = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    python = str(CACHE / "environment/bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    make(
        "environment",
        "\n".join([sys.version, *needs]),
        [sys.executable, "-m", "venv", str(CACHE / "environment")],
        [*pip, *needs],
    )
    pom = PACKAGE / "pom.xml"
    maven = ["mvn", "--batch-mode", "--quiet", "dependency:copy-dependencies", "--file", str(pom)]
    make("jars", pom.read_text(), [*maven, f"-DoutputDirectory={CACHE / 'jars'}"])
    leave_nothing = {"PYTHONDONTWRITEBYTECODE": "1", "MYPY_CACHE_DIR": str(CACHE / "mypy"), "RUFF_NO_CACHE": "true"}
    for check in (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "funnelweb_flink"],
        ["pytest", "-p", "no:cacheprovider", *sys.argv[1:]],
    ):
        done = subprocess.run([python, "-m", *check], cwd=PACKAGE, env={**os.environ, **leave_nothing}, check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
