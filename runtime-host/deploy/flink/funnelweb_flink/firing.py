"""What goes between the steps of the job."""

from dataclasses import dataclass

from .model import Span


@dataclass(frozen=True, slots=True)
class Part:
    """The accumulator of one event, and the pane that it goes to."""

    operator: str
    tenant: str
    key: list[str]
    pane: Span
    accumulator: bytes

    def group(self) -> str:
        return _text(self.operator, self.tenant, *self.key)

    def place(self) -> str:
        return _text(self.group(), str(self.pane.from_ms))


@dataclass(frozen=True, slots=True)
class Firing:
    """All that a pane has so far."""

    operator: str
    tenant: str
    key: list[str]
    pane: Span
    total: bytes
    # What it had when it fired before: none the first time.
    before: bytes | None
    # Whether no window takes it any more.
    over: bool = False

    def group(self) -> str:
        return _text(self.operator, self.tenant, *self.key)

    def name(self) -> str:
        """Tells it from all else that changes the same things."""
        # No id has a `/` in it.
        return "/".join((self.operator, *self.key, str(self.pane.from_ms)))


@dataclass(frozen=True, slots=True)
class Letter:
    """What could not be aggregated."""

    topic: str
    partition: int
    offset: int
    reason: str
    value: bytes


def _text(*parts: str) -> str:
    # No id has it.
    return "\x1f".join(parts)
