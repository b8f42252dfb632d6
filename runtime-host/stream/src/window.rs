//! Windows of event time. A window of `size` begins at every multiple of `slide`; its
//! panes are the slides in it, so that an event is added once however many windows it
//! is in.

use std::ops::Range;

use funnelweb_bindings::stages::aggregate::{Declaration, Field, Span};
use funnelweb_core::limits;

/// Which panes and windows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// A multiple of `slide_ms`.
    pub size_ms: u64,
    /// Above 0.
    pub slide_ms: u64,
    /// How long after its end a window takes events.
    pub lateness_ms: u64,
}

impl Windows {
    /// Of a declaration.
    ///
    /// # Errors
    /// With the field and the rule.
    pub fn new(declaration: &Declaration) -> Result<Self, String> {
        let (size_ms, slide_ms) = (declaration.window.size_ms, declaration.window.slide_ms);
        let lateness_ms = declaration.allowed_lateness_ms;
        let fields = &declaration.key;
        if fields.iter().enumerate().any(|(at, field)| fields.iter().take(at).any(|other| same(*other, *field))) {
            return Err("key: a field stands in it twice".to_owned());
        }
        if !(1..=limits::STREAM_WINDOW_MS).contains(&size_ms) {
            return Err(format!("window.size-ms must be 1 to {}, got {size_ms}", limits::STREAM_WINDOW_MS));
        }
        if slide_ms < limits::STREAM_SLIDE_MS || size_ms % slide_ms != 0 {
            let least = limits::STREAM_SLIDE_MS;
            return Err(format!(
                "window.slide-ms must be at least {least} and divide the size, {size_ms}, got {slide_ms}"
            ));
        }
        if size_ms / slide_ms > limits::STREAM_PANES {
            let panes = size_ms / slide_ms;
            return Err(format!("a window may have at most {} panes, got {panes}", limits::STREAM_PANES));
        }
        if lateness_ms > limits::STREAM_WINDOW_MS {
            return Err(format!("allowed-lateness-ms must be at most {}, got {lateness_ms}", limits::STREAM_WINDOW_MS));
        }
        Ok(Self { size_ms, slide_ms, lateness_ms })
    }

    /// The last end of a window that is not after this time.
    #[must_use]
    pub fn floor(&self, at_ms: u64) -> u64 {
        at_ms - at_ms % self.slide_ms
    }

    /// The pane of an event.
    #[must_use]
    pub fn pane(&self, at_ms: u64) -> Span {
        let from_ms = self.floor(at_ms);
        Span { from_ms, to_ms: from_ms.saturating_add(self.slide_ms) }
    }

    /// The window that ends then.
    #[must_use]
    pub fn window(&self, end_ms: u64) -> Span {
        Span { from_ms: end_ms.saturating_sub(self.size_ms), to_ms: end_ms }
    }

    /// Whether no window that has the pane takes events any more.
    #[must_use]
    pub fn is_over(&self, pane_from_ms: u64, watermark_ms: u64) -> bool {
        pane_from_ms.saturating_add(self.size_ms).saturating_add(self.lateness_ms) <= watermark_ms
    }

    /// Whether the window that ends then takes events no more.
    #[must_use]
    pub fn has_closed(&self, end_ms: u64, watermark_ms: u64) -> bool {
        end_ms.saturating_add(self.lateness_ms) <= watermark_ms
    }

    /// Panes that begin before this are over.
    #[must_use]
    pub fn over_before(&self, watermark_ms: u64) -> u64 {
        (watermark_ms + 1).saturating_sub(self.size_ms + self.lateness_ms)
    }

    /// The ends of the windows that have the pane.
    pub fn ends(&self, pane_from_ms: u64) -> impl Iterator<Item = u64> + use<> {
        let slide_ms = self.slide_ms;
        (1..=self.size_ms / slide_ms).map(move |at| pane_from_ms.saturating_add(at * slide_ms))
    }

    /// The panes of windows that end after this begin then or later.
    #[must_use]
    pub fn unfired_from(&self, fired_ms: u64) -> u64 {
        (fired_ms + self.slide_ms).saturating_sub(self.size_ms)
    }

    /// The first end after `fired_ms` of a window that has a pane, of which `first_ms` is
    /// the first that [`Self::unfired_from`] allows.
    #[must_use]
    pub fn next_end(&self, fired_ms: u64, first_ms: u64) -> u64 {
        (fired_ms + self.slide_ms).max(first_ms.saturating_add(self.slide_ms))
    }

    /// Where the panes of a window begin.
    #[must_use]
    pub fn panes(&self, end_ms: u64) -> Range<u64> {
        end_ms.saturating_sub(self.size_ms)..end_ms
    }
}

fn same(one: Field, other: Field) -> bool {
    one as u8 == other as u8
}

#[cfg(test)]
mod tests {
    use funnelweb_bindings::stages::aggregate::Window;
    use proptest::prelude::*;

    use super::*;

    fn declared(size_ms: u64, slide_ms: u64, allowed_lateness_ms: u64, key: Vec<Field>) -> Result<Windows, String> {
        Windows::new(&Declaration { key, window: Window { size_ms, slide_ms }, allowed_lateness_ms })
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let most = limits::STREAM_WINDOW_MS;
        let refused = |size, slide, lateness| declared(size, slide, lateness, vec![]).unwrap_err();
        assert!(refused(0, 1, 0).starts_with("window.size-ms"));
        assert!(refused(most + 1, 1, 0).starts_with("window.size-ms"));
        let least = limits::STREAM_SLIDE_MS;
        for slide in [0, least - 1, 3 * least] {
            assert!(refused(10 * least, slide, 0).starts_with("window.slide-ms"));
        }
        assert!(refused((limits::STREAM_PANES + 1) * least, least, 0).contains("panes"));
        assert!(refused(least, least, most + 1).starts_with("allowed-lateness-ms"));
        assert!(declared(least, least, 0, vec![Field::User, Field::User]).unwrap_err().starts_with("key"));
        declared(most, most, most, vec![Field::User, Field::Item]).unwrap();
        declared(limits::STREAM_PANES * least, least, 0, vec![]).unwrap();
    }

    proptest! {
        #[test]
        fn a_pane_is_in_the_windows_that_hold_its_times(slides in 1..20_u64, slide in 1000..1050_u64, late in 0..99_u64, at in 0..99_999_u64) {
            let windows = declared(slides * slide, slide, late, vec![]).unwrap();
            let pane = windows.pane(at);
            prop_assert!((pane.from_ms..pane.to_ms).contains(&at));
            let mut ends = windows.ends(pane.from_ms);
            prop_assert!(ends.all(|end| windows.panes(end).contains(&pane.from_ms) && end > at));
            let ends = windows.ends(pane.from_ms).count() as u64;
            prop_assert_eq!(ends, slides);
            let last = windows.ends(pane.from_ms).last().unwrap();
            for watermark in [last + late - 1, last + late, last + late + 1] {
                let over = watermark >= last + late;
                prop_assert_eq!(windows.is_over(pane.from_ms, watermark), over);
                prop_assert_eq!(pane.from_ms < windows.over_before(watermark), over);
            }
        }

        #[test]
        fn no_end_with_a_pane_is_passed_over(slides in 1..9_u64, slide in 1000..1009_u64, fired in 0..40_u64, pane in 0..60_u64) {
            let windows = declared(slides * slide, slide, 0, vec![]).unwrap();
            let (fired, pane) = (fired * slide, pane * slide);
            let first = windows.ends(pane).find(|end| *end > fired);
            let found = (pane >= windows.unfired_from(fired)).then(|| windows.next_end(fired, pane));
            prop_assert_eq!(found, first);
        }
    }
}
