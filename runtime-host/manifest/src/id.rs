//! The two kinds of names a Spin manifest has.

/// Checks words joined by `-`, each a letter and then letters and digits, all of
/// one case: what Spin asks of a component's id.
///
/// # Errors
/// The rule that `text` breaks.
pub(crate) fn kebab(text: &str) -> Result<(), String> {
    words(text, '-')
}

/// Checks words joined by `_`, in lower case: what Spin asks of a variable's name.
///
/// # Errors
/// The rule that `text` breaks.
pub(crate) fn lower_snake(text: &str) -> Result<(), String> {
    if text.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(format!("{text:?} is not a name: it must be in lower case"));
    }
    words(text, '_')
}

fn words(text: &str, delimiter: char) -> Result<(), String> {
    let rule = |rule: &str| Err(format!("{text:?} is not a name: {rule}"));
    for word in text.split(delimiter) {
        let Some(first) = word.chars().next() else {
            return rule(&format!("it must be words joined by `{delimiter}`, none of them empty"));
        };
        if !first.is_ascii_alphabetic() {
            return rule(&format!("each of the words joined by `{delimiter}` begins with a letter"));
        }
        if let Some(bad) = word.chars().find(|c| !c.is_ascii_alphanumeric()) {
            return rule(&format!("{bad:?} stands where only letters, digits and `{delimiter}` may"));
        }
        let upper = first.is_ascii_uppercase();
        if word.chars().any(|c| c.is_ascii_alphabetic() && c.is_ascii_uppercase() != upper) {
            return rule("a word is all in lower case or all in upper case");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_spins_rules() {
        for good in ["items", "recall-hot", "a1-b2", "HTTP-api"] {
            kebab(good).unwrap();
        }
        for bad in ["", "-", "a--b", "1a", "a-1", "recall_hot", "Ab", "a b", "ü"] {
            kebab(bad).unwrap_err();
        }
        lower_snake("api_host2").unwrap();
        for bad in ["", "API_HOST", "api-host", "_a", "a_"] {
            lower_snake(bad).unwrap_err();
        }
    }
}
