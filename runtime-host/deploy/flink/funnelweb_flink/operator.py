"""An operator: a component that aggregates, run by Wasmtime.

It answers the same whenever it is asked the same, so an instance is kept between calls and
replaced after a trap. What it says is checked as the embedded engine does.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from wasmtime import Config, Engine, Store, WasiConfig, WasmtimeError
from wasmtime.component import Component, Func, Linker, Record, Variant

from .model import Aggregated, Batch, Change, Count, Declaration, Heat, Message, Metric, Taste, Window

INTERFACE = "funnelweb:stream/aggregate@0.1.0"
CALLS = ("declare", "aggregate", "merge", "changes", "summary")
# Some seconds of work, so that a call that would never end fails.
FUEL = 20_000_000_000
MEMORY_BYTES = 256 * 1024 * 1024
# Those of `components/core/src/limits.rs`.
ACCUMULATOR_BYTES = 16 * 1024
CHANGES = 64
PREFERENCES = 512
OUTPUTS = 16
MESSAGE_BYTES = 16 * 1024
WINDOW_MS = 7 * 24 * 3_600_000
SLIDE_MS = 1000
PANES = 288

Answers = list[Any]


class OperatorError(Exception):
    """The operator fails with what it was given, or breaks the contract."""


class Operator:
    """A component of the world `aggregate`, by the name of its file."""

    def __init__(self, name: str, wasm: bytes) -> None:
        self.name = name
        config = Config()
        config.consume_fuel = True
        self._engine = Engine(config)
        self._component = Component(self._engine, wasm)
        self._linker = Linker(self._engine)
        self._linker.add_wasip2()
        self._store: Store | None = None
        self._functions: dict[str, Func] = {}
        self.declaration = self._declare()

    @classmethod
    def load(cls, path: str) -> "Operator":
        file = Path(path)
        return cls(file.stem.replace("_", "-"), file.read_bytes())

    def aggregate(self, batches: list[Batch]) -> list[bytes]:
        return self._accumulators("aggregate", batches)

    def merge(self, parts: list[list[bytes]]) -> list[bytes]:
        return self._accumulators("merge", parts)

    def changes(self, panes: list[Aggregated]) -> list[list[Change]]:
        answers = [[_change(change) for change in changes] for changes in self._ask("changes", panes)]
        for changes in answers:
            _check(len(changes) <= CHANGES, f"changes: at most {CHANGES} a pane, got {len(changes)}")
        return answers

    def summary(self, windows: list[Aggregated]) -> list[list[Message]]:
        answers = [[_message(output) for output in outputs] for outputs in self._ask("summary", windows)]
        for messages in answers:
            _check(len(messages) <= OUTPUTS, f"summary: at most {OUTPUTS} a window, got {len(messages)}")
        return answers

    def _declare(self) -> Declaration:
        said = self._call("declare")
        declared = Declaration(
            key=list(said.key),
            window=_record(Window, said.window),
            allowed_lateness_ms=getattr(said, "allowed-lateness-ms"),
        )
        size, slide, late = declared.window.size_ms, declared.window.slide_ms, declared.allowed_lateness_ms
        _check(len(set(declared.key)) == len(declared.key), "key: a field stands in it twice")
        _check(1 <= size <= WINDOW_MS, f"window.size-ms must be 1 to {WINDOW_MS}, got {size}")
        fits = slide >= SLIDE_MS and size % slide == 0
        _check(fits, f"window.slide-ms must be at least {SLIDE_MS} and divide the size, {size}, got {slide}")
        _check(size // slide <= PANES, f"a window may have at most {PANES} panes, got {size // slide}")
        _check(late <= WINDOW_MS, f"allowed-lateness-ms must be at most {WINDOW_MS}, got {late}")
        return declared

    def _accumulators(self, name: str, given: list[Any]) -> list[bytes]:
        answers: list[bytes] = self._ask(name, given)
        for accumulator in answers:
            bytes_ = len(accumulator)
            _check(bytes_ <= ACCUMULATOR_BYTES, f"an accumulator may have {ACCUMULATOR_BYTES} bytes, got {bytes_}")
        return answers

    def _ask(self, name: str, given: list[Any]) -> Answers:
        """An answer for each of what is given."""
        if not given:
            return []
        answers = self._call(name, _lower(given))
        if isinstance(answers, str):
            raise OperatorError(answers)
        _check(len(answers) == len(given), f"{name} must answer for each of {len(given)}, got {len(answers)}")
        return list(answers)

    def _call(self, name: str, *given: Any) -> Any:
        try:
            store = self._store or self._instantiate()
            store.set_fuel(FUEL)
            function = self._functions[name]
            answer = function(store, *given)
            function.post_return(store)
            return answer
        except WasmtimeError as error:
            # What it has in memory is not to be relied on any more.
            self._store = None
            raise OperatorError(str(error)) from error

    def _instantiate(self) -> Store:
        store = Store(self._engine)
        store.set_limits(memory_size=MEMORY_BYTES)
        store.set_wasi(WasiConfig())
        store.set_fuel(FUEL)
        instance = self._linker.instantiate(store, self._component)
        interface = instance.get_export_index(store, INTERFACE)
        _check(interface is not None, f"it does not export {INTERFACE}")
        for name in CALLS:
            index = instance.get_export_index(store, name, interface)
            function = instance.get_func(store, index) if index else None
            if function is None:
                raise OperatorError(f"{INTERFACE} has no {name}")
            self._functions[name] = function
        self._store = store
        return store


def _check(holds: bool, rule: str) -> None:
    if not holds:
        raise OperatorError(rule)


def _lower(value: Any) -> Any:
    """As Wasmtime takes it: records have the names of the interface."""
    if isinstance(value, list):
        return [_lower(one) for one in value]
    if dataclasses.is_dataclass(value):
        record = Record()
        for one in dataclasses.fields(value):
            setattr(record, one.name.replace("_", "-"), _lower(getattr(value, one.name)))
        return record
    return value


def _record(of: type, record: Any) -> Any:
    return of(**{name.replace("-", "_"): value for name, value in vars(record).items()})


def _change(change: Variant) -> Change:
    kinds = {"heat": Heat, "count": Count, "taste": Taste, "metric": Metric}
    read: Change = _record(kinds[change.tag], change.payload)
    if isinstance(read, Taste):
        most = max(len(read.preferences), len(read.counters))
        _check(most <= PREFERENCES, f"changes: at most {PREFERENCES} preferences and counters, got {most}")
    return read


def _message(output: Any) -> Message:
    # A variant of one case is given as what is in it.
    message: Message = _record(Message, output.payload if isinstance(output, Variant) else output)
    size = len(message.key.encode()) + len(message.body.encode())
    _check(size <= MESSAGE_BYTES, f"a message may have {MESSAGE_BYTES} bytes, got {size}")
    try:
        is_object = isinstance(json.loads(message.body), dict)
    except ValueError as error:
        raise OperatorError(f"a message's body must be a JSON object: {error}") from error
    _check(is_object, "a message's body must be a JSON object")
    return message
