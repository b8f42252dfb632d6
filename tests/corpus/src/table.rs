//! The corpus as a table for people.

use std::fmt::Write;

use crate::{Case, Expected};

/// Attack and what becomes of it, in Markdown; cases that are alike share a row.
#[must_use]
pub fn markdown_table(cases: &[Case]) -> String {
    let mut table = "| upload | what becomes of it |\n|---|---|\n".to_owned();
    for alike in cases.chunk_by(|a, b| a.about == b.about) {
        let Some(case) = alike.first() else { continue };
        let count = if alike.len() > 1 { format!(" ({} of them)", alike.len()) } else { String::new() };
        let _ = writeln!(table, "| {}{count} | {} |", case.about, outcome(&case.expected));
    }
    table
}

fn outcome(expected: &Expected) -> String {
    match expected {
        Expected::Refused(rules) => format!("refused: {}", codes(rules)),
        Expected::Unusable(reasons) => format!("not certified, no scenario takes it: {}", words(reasons)),
        Expected::Contained(reasons) => format!("not certified; contained: {}", words(reasons)),
        Expected::Later(reasons) => format!("certified; contained when it does: {}", words(reasons)),
        Expected::Harmless => "runs, and gets nowhere".to_owned(),
        Expected::RefusedOr(rules, otherwise) => format!("refused: {}; or {}", codes(rules), outcome(otherwise)),
        Expected::Any => "refused, contained, or harmless".to_owned(),
    }
}

fn codes(rules: &[&str]) -> String {
    rules.iter().map(|rule| format!("`{rule}`")).collect::<Vec<_>>().join(" or ")
}

fn words(reasons: &[&str]) -> String {
    reasons.iter().map(|reason| format!("« {reason} »")).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    fn the_readme_shows_all_of_them() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let text = fs::read_to_string(&path).unwrap();
        let (before, _) = text.split_once("| upload |").unwrap();
        let expected = format!("{before}{}", super::markdown_table(&crate::cases()));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, expected).unwrap();
        } else {
            assert!(text == expected, "run the test with UPDATE_GOLDEN=1");
        }
    }
}
