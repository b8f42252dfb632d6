//! What serde says of a value of a wrong type, in the words of an API.

/// The message without where in the text it was (its path says it better), and
/// without names of Rust's types: `invalid type: string "x", expected u32` becomes
/// `invalid type: string "x", expected a whole number from 0 to 4294967295`.
#[must_use]
pub fn in_plain_words(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    format!("{}, expected {}", plain_found(found), plain_expected(expected))
}

fn plain_found(found: &str) -> String {
    let Some((what, value)) = found.split_once(": ") else { return found.to_owned() };
    let value = match value {
        "map" => "an object",
        "sequence" => "a list",
        other => other,
    };
    format!("{what}: {value}")
}

fn plain_expected(expected: &str) -> String {
    let whole = |least: i128, most: i128| format!("a whole number from {least} to {most}");
    match expected {
        "u8" => whole(0, u8::MAX.into()),
        "u16" => whole(0, u16::MAX.into()),
        "u32" => whole(0, u32::MAX.into()),
        "u64" => whole(0, u64::MAX.into()),
        "usize" => whole(0, usize::MAX as i128),
        "i8" => whole(i8::MIN.into(), i8::MAX.into()),
        "i16" => whole(i16::MIN.into(), i16::MAX.into()),
        "i32" => whole(i32::MIN.into(), i32::MAX.into()),
        "i64" => whole(i64::MIN.into(), i64::MAX.into()),
        "isize" => whole(isize::MIN as i128, isize::MAX as i128),
        "f32" | "f64" => "a number".to_owned(),
        "a map" => "an object".to_owned(),
        "a sequence" => "a list".to_owned(),
        "unit" => "null".to_owned(),
        _ if expected.starts_with("struct ") => "an object".to_owned(),
        _ if expected.starts_with("enum ") || expected.ends_with(" enum") => "a name".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, de::DeserializeOwned};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "read for its errors")]
    struct Thing {
        kind: Kind,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        One,
    }

    fn said<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        in_plain_words(&serde_json::from_str::<T>(text).unwrap_err().to_string())
    }

    #[test]
    fn numbers_have_their_range() {
        assert_eq!(said::<u32>("\"x\""), r#"invalid type: string "x", expected a whole number from 0 to 4294967295"#);
        assert_eq!(said::<u32>("-1"), "invalid value: integer `-1`, expected a whole number from 0 to 4294967295");
        assert_eq!(
            said::<u32>("1.5"),
            "invalid type: floating point `1.5`, expected a whole number from 0 to 4294967295"
        );
        assert_eq!(said::<u8>("256"), "invalid value: integer `256`, expected a whole number from 0 to 255");
        assert_eq!(said::<i8>("-129"), "invalid value: integer `-129`, expected a whole number from -128 to 127");
        assert!(said::<u64>("null").ends_with("expected a whole number from 0 to 18446744073709551615"));
        assert!(said::<usize>("[]").ends_with(&format!("a list, expected a whole number from 0 to {}", usize::MAX)));
        assert_eq!(said::<f32>("true"), "invalid type: boolean `true`, expected a number");
    }

    #[test]
    fn no_type_of_rust_is_named() {
        assert_eq!(said::<Thing>("3"), "invalid type: integer `3`, expected an object");
        assert_eq!(said::<BTreeMap<String, u8>>("3"), "invalid type: integer `3`, expected an object");
        assert_eq!(said::<Vec<u8>>("{}"), "invalid type: an object, expected a list");
        assert_eq!(said::<String>("{}"), "invalid type: an object, expected a string");
        assert_eq!(said::<bool>("1"), "invalid type: integer `1`, expected a boolean");
        assert_eq!(said::<Thing>(r#"{"kind":"two"}"#), "unknown variant `two`, expected `one`");
        // What a value says itself stays as it is.
        assert_eq!(
            said::<u8>(r#"", expected u8""#),
            r#"invalid type: string ", expected u8", expected a whole number from 0 to 255"#
        );
        assert_eq!(in_plain_words("missing field `id`"), "missing field `id`");
    }
}
