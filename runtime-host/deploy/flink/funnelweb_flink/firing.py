"""What goes between the steps of the job."""

from dataclasses import dataclass

from .model import Span
from .record import Origin
from .totals import Sums


@dataclass(frozen=True, slots=True)
class Part:
    """The accumulator of one event, and the pane that it goes to."""

    operator: str
    tenant: str
    key: list[str]
    pane: Span
    accumulator: bytes
    origin: Origin
    event_id: str

    def place(self) -> str:
        return _text(self.operator, self.tenant, *self.key, str(self.pane.from_ms))

    def letter(self, reason: Exception) -> "Letter":
        return Letter(self.origin, f"{self.operator}: {reason}", self.event_id.encode())


@dataclass(frozen=True, slots=True)
class Firing:
    """All that a pane has so far."""

    operator: str
    tenant: str
    key: list[str]
    pane: Span
    total: bytes
    # What that adds, and what it added when it fired before: none the first time.
    sums: Sums
    before: Sums | None
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
    """What could not be aggregated: a record, or the id of an event, or a window."""

    origin: Origin
    reason: str
    value: bytes


def _text(*parts: str) -> str:
    # No id has it.
    return "\x1f".join(parts)
