"""What tests share: the components, built by `cargo build --profile guest --target wasm32-wasip2`."""

import os
from pathlib import Path

import pytest

from funnelweb_flink.operator import Operator

ROOT = Path(__file__).resolve().parents[4]


def components() -> Path:
    """The folder of the components, or `$FUNNELWEB_COMPONENTS`."""
    return Path(os.environ.get("FUNNELWEB_COMPONENTS", ROOT / "target/wasm32-wasip2/guest"))


@pytest.fixture(scope="session")
def operators() -> dict[str, Operator]:
    names = ("hotness", "metrics", "profile")
    return {name: Operator.load(str(components() / f"stream_{name}.wasm")) for name in names}
