"""What tests share: the components, built by `cargo build --profile guest --target wasm32-wasip2`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from funnelweb_flink.operator import Operator

from .servers import ferretdb, redis_server

# Of the repository, or `$FUNNELWEB_ROOT`: one that is built.
ROOT = Path(os.environ.get("FUNNELWEB_ROOT") or Path(__file__).resolve().parents[4])


def components() -> Path:
    """The folder of the components, or `$FUNNELWEB_COMPONENTS`."""
    return Path(os.environ.get("FUNNELWEB_COMPONENTS", ROOT / "target/wasm32-wasip2/guest"))


@pytest.fixture(scope="session")
def operators() -> dict[str, Operator]:
    names = ("hotness", "metrics", "profile")
    return {name: Operator.load(str(components() / f"stream_{name}.wasm")) for name in names}


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("servers") / "redis") as server:
        yield f"redis://127.0.0.1:{server.port}"


@pytest.fixture(scope="session")
def mongodb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ferretdb(tmp_path_factory.mktemp("servers") / "ferretdb") as server:
        yield f"mongodb://127.0.0.1:{server.port}"
