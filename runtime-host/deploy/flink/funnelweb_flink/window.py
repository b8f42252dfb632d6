"""Which panes and windows there are, as in `runtime-host/stream/src/window.rs`."""

from dataclasses import dataclass

from .model import Declaration, Span


@dataclass(frozen=True, slots=True)
class Windows:
    size_ms: int
    slide_ms: int
    lateness_ms: int

    @classmethod
    def of(cls, declared: Declaration) -> "Windows":
        return cls(declared.window.size_ms, declared.window.slide_ms, declared.allowed_lateness_ms)

    def pane(self, at_ms: int) -> Span:
        from_ms = at_ms - at_ms % self.slide_ms
        return Span(from_ms, from_ms + self.slide_ms)

    def window(self, end_ms: int) -> Span:
        return Span(max(end_ms - self.size_ms, 0), end_ms)

    def over_ms(self, pane_from_ms: int) -> int:
        """From this time on no window that has the pane takes events any more."""
        return pane_from_ms + self.size_ms + self.lateness_ms

    def has_closed(self, end_ms: int, watermark_ms: int) -> bool:
        """Whether the window that ends then takes events no more."""
        return end_ms + self.lateness_ms <= watermark_ms

    def ends(self, pane_from_ms: int) -> range:
        """The ends of the windows that have the pane."""
        return range(pane_from_ms + self.slide_ms, pane_from_ms + self.size_ms + 1, self.slide_ms)

    def panes(self, end_ms: int) -> range:
        """Where the panes of a window begin."""
        return range(max(end_ms - self.size_ms, 0), end_ms, self.slide_ms)
