//! Text with `{{ variable }}` in it.

use std::collections::BTreeMap;

use crate::Error;

/// Text with places for application variables, as `https://{{ api_host }}/v1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Variable(String),
}

impl Template {
    /// Parses `text`; `{{` opens a place, `}}` closes it, all else is itself.
    ///
    /// # Errors
    /// A place that is not closed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or_else(|| format!("`{{{{` without `}}}}` in {text:?}"))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Variable(name.trim().to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self { parts })
    }

    /// The application variables it needs, in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with every place filled.
    ///
    /// # Errors
    /// [`Error::UnknownVariable`]; not with the values of the manifest the
    /// template is from, which was checked.
    pub fn render(&self, values: &Values) -> Result<String, Error> {
        let text = |part: &Part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Variable(name) => {
                values.get(name).map(str::to_owned).ok_or_else(|| Error::UnknownVariable(name.clone()))
            }
        };
        self.parts.iter().map(text).collect()
    }
}

/// The values of an application's variables. Not shown by `Debug`: some may be secret.
#[derive(Clone, Default)]
pub struct Values(BTreeMap<String, String>);

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Values {
    pub(crate) fn new(values: BTreeMap<String, String>) -> Self {
        Self(values)
    }

    /// The value of an application variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled() {
        let values = Values::new(BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]));
        for (text, expected) in
            [("", ""), ("x", "x"), ("{{a}}", "1"), ("x {{ a }}-{{b}} y", "x 1-2 y"), ("}} {", "}} {")]
        {
            assert_eq!(Template::parse(text).unwrap().render(&values).unwrap(), expected, "{text}");
        }
        assert_eq!(Template::parse("{{a}}{{ b }}").unwrap().variables().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Template::parse("{{ a").unwrap_err(), "`{{` without `}}` in \"{{ a\"");
        let unknown = Template::parse("{{ c }}").unwrap().render(&values).unwrap_err();
        assert_eq!(unknown.to_string(), "unknown variable `c`");
    }

    #[test]
    fn debug_hides_values() {
        let values = Values::new(BTreeMap::from([("token".into(), "hush".into())]));
        assert_eq!(format!("{values:?}"), "{\"token\"}");
    }
}
