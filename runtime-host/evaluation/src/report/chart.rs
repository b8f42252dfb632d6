//! Bars with intervals, as SVG.

use std::fmt::Write as _;

use super::html::escape;
use crate::bootstrap::Estimate;

/// One bar.
pub(super) struct Bar<'a> {
    pub(super) label: &'a str,
    /// The class of its colour: `baseline`, `channel`, `funnel`.
    pub(super) class: &'a str,
    pub(super) value: f64,
    /// The ends of its interval.
    pub(super) interval: Option<(f64, f64)>,
}

impl<'a> Bar<'a> {
    pub(super) fn of(label: &'a str, class: &'a str, estimate: Estimate) -> Self {
        Self { label, class, value: estimate.mean, interval: Some((estimate.low, estimate.high)) }
    }
}

/// Pixels: of the labels, of the bars, of the numbers, and of one bar's height.
const LABELS: f64 = 170.0;
const BARS: f64 = 330.0;
const NUMBERS: f64 = 70.0;
const ROW: f64 = 24.0;

/// Horizontal bars from 0, with a scale below; `title` is read out in place of the
/// picture.
pub(super) fn bars(title: &str, bars: &[Bar<'_>]) -> String {
    let most = bars.iter().map(|bar| bar.interval.map_or(bar.value, |(_, high)| high.max(bar.value)));
    let end = nice_end(most.fold(0.0, f64::max));
    let x = |value: f64| LABELS + BARS * (value / end).clamp(0.0, 1.0);
    let height = ROW * bars.len() as f64 + 26.0;
    let width = LABELS + BARS + NUMBERS;
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = write!(
        out,
        r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{}"><title>{0}</title>"#,
        escape(title)
    );
    let bottom = ROW * bars.len() as f64 + 4.0;
    for step in 0..=4 {
        let value = end * f64::from(step) / 4.0;
        let _ = write!(
            out,
            r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="0" y2="{bottom}"/><text class="scale" x="{x:.1}" y="{y}">{}</text>"#,
            short(value),
            x = x(value),
            y = bottom + 16.0
        );
    }
    for (at, bar) in bars.iter().enumerate() {
        let top = ROW * at as f64 + 4.0;
        let middle = top + (ROW - 8.0) / 2.0;
        let tip = bar.interval.map_or_else(
            || format!("{}: {}", bar.label, short(bar.value)),
            |(low, high)| format!("{}: {} [{}, {}]", bar.label, short(bar.value), short(low), short(high)),
        );
        let _ = write!(
            out,
            r#"<g><title>{tip}</title><text class="label" x="{label_x}" y="{text_y}">{label}</text><rect class="{class}" x="{LABELS}" y="{top}" width="{width:.1}" height="{bar_height}" rx="2"/>"#,
            tip = escape(&tip),
            label_x = LABELS - 8.0,
            text_y = middle + 4.0,
            label = escape(&cut(bar.label)),
            class = bar.class,
            width = x(bar.value) - LABELS,
            bar_height = ROW - 8.0,
        );
        let mut after = x(bar.value);
        if let Some((low, high)) = bar.interval {
            after = after.max(x(high));
            let _ = write!(
                out,
                r#"<path class="interval" d="M{low:.1} {middle}H{high:.1}M{low:.1} {up}v8M{high:.1} {up}v8"/>"#,
                low = x(low),
                high = x(high),
                up = middle - 4.0
            );
        }
        let _ = write!(
            out,
            r#"<text class="number" x="{:.1}" y="{}">{}</text></g>"#,
            after + 6.0,
            middle + 4.0,
            short(bar.value)
        );
    }
    out.push_str("</svg>");
    out
}

/// The next of 1, 2, 2.5, 4, 5, 8 times a power of ten: a quarter of it is short.
fn nice_end(most: f64) -> f64 {
    if !(most > 0.0 && most.is_finite()) {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 2.5, 4.0, 5.0, 8.0, 10.0];
    // Rounding of the logarithm may leave it a hair above the last.
    steps.iter().map(|step| step * power).find(|end| *end >= most).unwrap_or(most)
}

/// Three significant digits or so.
pub(super) fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.01 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// What fits beside the bars.
fn cut(label: &str) -> String {
    const MOST: usize = 24;
    if label.chars().count() <= MOST {
        return label.to_owned();
    }
    label.chars().take(MOST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_short_number() {
        for (most, end) in
            [(0.0, 1.0), (f64::NAN, 1.0), (0.11, 0.2), (0.21, 0.25), (1.0, 1.0), (9.3, 10.0), (310.0, 400.0)]
        {
            assert!((nice_end(most) - end).abs() < 1e-9, "{most} {}", nice_end(most));
        }
    }

    #[test]
    fn bars_stay_within_the_picture() {
        let bar = Bar { label: "a<b", class: "funnel", value: 0.5, interval: Some((-0.2, 0.9)) };
        let svg =
            bars("t\"", &[bar, Bar { label: &"x".repeat(30), class: "channel", value: f64::NAN, interval: None }]);
        assert!(svg.contains("a&lt;b") && svg.contains("t&quot;"), "{svg}");
        assert!(svg.contains(&format!("{}…", "x".repeat(23))));
        assert!(svg.contains(r#"d="M170.0 "#), "the interval begins at 0: {svg}");
    }
}
