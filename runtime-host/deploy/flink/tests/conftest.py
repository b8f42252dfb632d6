"""What tests share: the components, built by `cargo build --profile guest --target wasm32-wasip2`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from funnelweb_flink.operator import Operator

from .servers import ROOT, ferretdb, redis_server


def components() -> Path:
    return ROOT / "target/wasm32-wasip2/guest"


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
