//! A key as stores keep it: one text that sorts as its values do.

/// Between the values of a key; no id has it.
const SEPARATOR: char = '\u{1f}';

/// Each value between separators, so that a value is found in it with its separators.
#[must_use]
pub fn text(key: &[String]) -> String {
    let mut text = String::from(SEPARATOR);
    for value in key {
        text.push_str(value);
        text.push(SEPARATOR);
    }
    text
}

/// The values again.
#[must_use]
pub fn values(text: &str) -> Vec<String> {
    let inner = text.strip_prefix(SEPARATOR).and_then(|text| text.strip_suffix(SEPARATOR));
    inner.map(|inner| inner.split(SEPARATOR).map(str::to_owned).collect()).unwrap_or_default()
}
