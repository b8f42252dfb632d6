"""An operator: a component that aggregates, run by Wasmtime.

A call is a new instance, so that nothing of one tenant's events is left for another's, and has
nothing but what it is given: no clock, no random numbers. What it says is checked as the embedded
engine does.
"""

import dataclasses
from pathlib import Path
from typing import Any

from wasmtime import Config, Engine, Store, WasmtimeError
from wasmtime.component import Component, ExportIndex, Linker, Record, Variant

from .model import Aggregated, Batch, Change, Count, Declaration, Heat, Message, Metric, Taste, Window
from .strict import parse
from .topics import OUTPUTS
from .window import Windows

INTERFACE = "funnelweb:stream/aggregate@0.1.0"
CALLS = ("declare", "aggregate", "merge", "changes", "summary")
# Some seconds of work, so that a call that would never end fails. Wasmtime itself limits what an
# answer may have.
FUEL = 4_000_000_000
# Characters of a failure that are told.
REASON_CHARACTERS = 200
# Those of `components/core/src/limits.rs`.
MEMORY_BYTES = 64 * 1024 * 1024
ACCUMULATOR_BYTES = 16 * 1024
CHANGES = 64
MESSAGES = 16
MESSAGE_BYTES = 16 * 1024
WINDOW_MS = 7 * 24 * 3_600_000
SLIDE_MS = 1000
PANES = 288

Answers = list[Any]


class OperatorError(Exception):
    """The operator fails with what it was given, or breaks the contract."""

    def __init__(self, reason: str) -> None:
        super().__init__(" ".join(reason.split())[:REASON_CHARACTERS])


class Operator:
    """A component of the world `aggregate`, by the name of its file."""

    def __init__(self, name: str, wasm: bytes) -> None:
        self.name = name
        config = Config()
        config.consume_fuel = True
        self._engine = Engine(config)
        self._component = Component(self._engine, wasm)
        self._linker = Linker(self._engine)
        # What Rust's standard library imports and a pure function never calls.
        self._linker.define_unknown_imports_as_traps(self._component)
        self._functions = {call: self._export(call) for call in CALLS}
        self.declaration = self._declare()
        self.windows = Windows.of(self.declaration)

    @classmethod
    def load(cls, path: str) -> "Operator":
        file = Path(path)
        return cls(file.stem.replace("_", "-"), file.read_bytes())

    @classmethod
    def load_all(cls, paths: list[str]) -> dict[str, "Operator"]:
        """By name."""
        return {operator.name: operator for operator in map(cls.load, paths)}

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
            _check(len(messages) <= MESSAGES, f"summary: at most {MESSAGES} a window, got {len(messages)}")
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
        store = Store(self._engine)
        store.set_limits(memory_size=MEMORY_BYTES)
        store.set_fuel(FUEL)
        try:
            function = self._linker.instantiate(store, self._component).get_func(store, self._functions[name])
            assert function is not None
            return function(store, *given)
        except WasmtimeError as error:
            # Where it was when it failed comes before.
            raise OperatorError(str(error).rpartition("Caused by:")[2]) from error

    def _export(self, name: str) -> ExportIndex:
        interface = self._component.get_export_index(INTERFACE)
        function = interface and self._component.get_export_index(name, interface)
        if not function:
            raise OperatorError(f"it does not export {name} of {INTERFACE}")
        return function


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
    return read


def _message(output: Any) -> Message:
    # A variant of one case is given as what is in it.
    message: Message = _record(Message, output.payload if isinstance(output, Variant) else output)
    _check(message.topic in OUTPUTS, f"no topic for messages is {message.topic}")
    size = len(message.key.encode()) + len(message.body.encode())
    _check(size <= MESSAGE_BYTES, f"a message may have {MESSAGE_BYTES} bytes, got {size}")
    try:
        is_object = isinstance(parse(message.body), dict)
    except ValueError as error:
        raise OperatorError(f"a message's body must be a JSON object: {error}") from error
    _check(is_object, "a message's body must be a JSON object")
    return message
