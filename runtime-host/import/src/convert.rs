//! One row of a source into one JSON object of the API.

use std::collections::HashMap;

use funnelweb_core::{id, time};
use jiff::{
    Timestamp,
    fmt::strtime::{self, BrokenDownTime},
    tz::TimeZone,
};
use serde_json::{Map, Value};

use crate::{
    LineError, Result,
    mapping::{FieldSpec, FieldType, Mapping},
};

/// What is looked up in further files: by table, then by key.
pub(crate) type Tables = HashMap<String, HashMap<String, Vec<String>>>;

/// A row: the cells of the plan's columns, missing ones None.
pub(crate) struct Row {
    pub(crate) cells: Vec<Option<Value>>,
    /// In its user's list, or among all rows.
    pub(crate) position: u64,
}

/// A mapping made ready for rows.
pub(crate) struct Plan {
    /// The columns that are needed, each once.
    pub(crate) columns: Vec<String>,
    fields: Vec<Field>,
}

struct Field {
    /// As in the mapping: `metadata.title`.
    name: String,
    spec: FieldSpec,
    /// Indices into the plan's columns.
    columns: Vec<usize>,
    add_ms: Option<usize>,
}

impl Plan {
    pub(crate) fn new(mapping: &Mapping) -> Self {
        let mut columns: Vec<String> = Vec::new();
        let mut place = |name: &String| {
            columns.iter().position(|column| column == name).unwrap_or_else(|| {
                columns.push(name.clone());
                columns.len() - 1
            })
        };
        let fields = mapping
            .fields
            .iter()
            .map(|(name, spec)| Field {
                name: name.clone(),
                columns: spec.column.iter().chain(&spec.columns).map(&mut place).collect(),
                add_ms: spec.add_ms.as_ref().map(&mut place),
                spec: spec.clone(),
            })
            .collect();
        Self { columns, fields }
    }

    /// The places of the plan's columns in a header.
    ///
    /// # Errors
    /// Naming the column that the source does not have.
    pub(crate) fn places(&self, mapping: &Mapping, header: &[String]) -> Result<Vec<usize>> {
        let place = |column: &String| {
            header.iter().position(|name| name == column).ok_or_else(|| {
                let user = self.fields.iter().find(|field| {
                    let spec = &field.spec;
                    spec.column.iter().chain(&spec.columns).chain(&spec.add_ms).any(|name| name == column)
                });
                let key = user.map(|field| format!("fields.{}", field.name)).unwrap_or_default();
                mapping.fault(key, format!("the source has no column `{column}`; it has {}", header.join(", ")))
            })
        };
        self.columns.iter().map(place).collect()
    }

    /// The object of one row.
    ///
    /// # Errors
    /// With the field that is wrong; line 0, for the caller to put in.
    pub(crate) fn convert(&self, row: &Row, tables: &Tables) -> Result<Map<String, Value>, LineError> {
        let mut object = Map::new();
        for field in &self.fields {
            let wrong = |message: String| LineError {
                line: 0,
                code: "invalid_field".to_owned(),
                field: Some(field.name.clone()),
                message,
            };
            let Some(value) = field.value(row, tables).map_err(wrong)? else { continue };
            match field.name.split_once('.') {
                None => {
                    object.insert(field.name.clone(), value);
                }
                Some((folder, name)) => {
                    let folder = object.entry(folder).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(folder) = folder {
                        folder.insert(name.to_owned(), value);
                    }
                }
            }
        }
        for name in ["item_id", "user_id", "event_id", "action_type"] {
            let needed = self.fields.iter().any(|field| field.name == name);
            let fault = match object.get(name) {
                None if needed && name != "event_id" => "is missing".to_owned(),
                Some(Value::String(text)) if name != "action_type" => match id::check(text) {
                    Ok(()) => continue,
                    Err(error) => error.to_string(),
                },
                _ => continue,
            };
            let code = "invalid_field".to_owned();
            return Err(LineError { line: 0, code, field: Some(name.to_owned()), message: fault });
        }
        Ok(object)
    }
}

impl Field {
    fn value(&self, row: &Row, tables: &Tables) -> Result<Option<Value>, String> {
        let spec = &self.spec;
        if let Some(constant) = &spec.constant {
            return Ok(Some(constant.clone()));
        }
        if spec.kind == FieldType::Sequence {
            let start_ms = spec.start.as_deref().and_then(time::parse_ms).unwrap_or(0);
            let step_ms = spec.step_s.unwrap_or(0).saturating_mul(1000).saturating_mul(row.position);
            return Ok(Some(Value::from(time::format_ms(start_ms.saturating_add(step_ms)))));
        }
        let cells = || self.columns.iter().filter_map(|at| row.cells.get(*at).and_then(Option::as_ref));
        if matches!(spec.kind, FieldType::List | FieldType::Vector) {
            return self.list(row, cells().collect(), tables);
        }
        let Some(first) = cells().next() else { return Ok(None) };
        let text =
            if spec.columns.is_empty() { text_of(first) } else { cells().map(text_of).collect::<Vec<_>>().join(" ") };
        let value = match spec.kind {
            FieldType::Int => Value::from(whole(&text)?),
            FieldType::Float => Value::from(number(&text)?),
            FieldType::Bool => Value::from(flag(&text).ok_or_else(|| format!("`{text}` is neither true nor false"))?),
            FieldType::Auto => match first {
                Value::String(_) => guess(text),
                other => other.clone(),
            },
            FieldType::Timestamp => Value::from(self.timestamp(row, &text)?),
            _ => match self.rename(text)? {
                Some(text) => Value::from(text),
                None => return Ok(None),
            },
        };
        Ok(Some(value))
    }

    /// Thresholds, renaming and prefix of one string.
    fn rename(&self, text: String) -> Result<Option<String>, String> {
        let spec = &self.spec;
        let text = if spec.thresholds.is_empty() {
            text
        } else {
            let number = number(&text)?;
            let reached = spec.thresholds.iter().find(|threshold| number >= threshold.at_least);
            match reached.map(|threshold| &threshold.value).or(spec.otherwise.as_ref()) {
                Some(value) => value.clone(),
                None => return Ok(None),
            }
        };
        let text = spec.values.get(&text).cloned().unwrap_or(text);
        Ok(Some(match &spec.prefix {
            Some(prefix) => format!("{prefix}{text}"),
            None => text,
        }))
    }

    fn list(&self, row: &Row, cells: Vec<&Value>, tables: &Tables) -> Result<Option<Value>, String> {
        let spec = &self.spec;
        let mut texts: Vec<String> = Vec::new();
        if spec.flags {
            for (at, name) in self.columns.iter().zip(&spec.columns) {
                let Some(Some(cell)) = row.cells.get(*at) else { continue };
                let text = text_of(cell);
                if flag(&text).ok_or_else(|| format!("column `{name}` is no flag but `{text}`"))? {
                    texts.push(name.clone());
                }
            }
        } else if let Some(table) = &spec.table {
            let key = cells.first().map(|cell| text_of(cell)).unwrap_or_default();
            texts = tables.get(table).and_then(|table| table.get(&key)).cloned().unwrap_or_default();
        } else {
            for cell in cells {
                match (cell, &spec.separator) {
                    (Value::Array(values), _) => texts.extend(values.iter().map(text_of)),
                    (_, Some(separator)) => {
                        texts.extend(text_of(cell).split(separator.as_str()).map(|part| part.trim().to_owned()));
                    }
                    (_, None) => texts.push(text_of(cell)),
                }
            }
        }
        texts.retain(|text| !text.is_empty() && !spec.drop.contains(text));
        if spec.kind == FieldType::Vector {
            let numbers: Result<Vec<f64>, String> = texts.iter().map(|text| number(text)).collect();
            return numbers.map(|numbers| (!numbers.is_empty()).then(|| Value::from(numbers)));
        }
        let mut values: Vec<String> = Vec::new();
        for text in texts {
            if let Some(text) = self.rename(text)?
                && !values.contains(&text)
            {
                values.push(text);
            }
        }
        values.truncate(if spec.first { 1 } else { spec.limit.unwrap_or(usize::MAX) });
        Ok(if spec.first { values.pop().map(Value::from) } else { (!values.is_empty()).then(|| Value::from(values)) })
    }

    fn timestamp(&self, row: &Row, text: &str) -> Result<String, String> {
        let bad = || format!("`{text}` is no time");
        let ms = match self.spec.format.as_deref() {
            None | Some("auto") => time::parse_ms(text).ok_or_else(bad)?,
            Some("unix-seconds") => from_unix(text, 1000.0).ok_or_else(bad)?,
            Some("unix-milliseconds") => from_unix(text, 1.0).ok_or_else(bad)?,
            Some(pattern) => {
                let parsed = strtime::parse(pattern, text).map_err(|error| format!("`{text}` is no time: {error}"))?;
                civil_ms(&parsed).ok_or_else(bad)?
            }
        };
        let add_ms = match self.add_ms.and_then(|at| row.cells.get(at).and_then(Option::as_ref)) {
            Some(cell) => u64::try_from(whole(&text_of(cell))?).map_err(|_| bad())?,
            None => 0,
        };
        Ok(time::format_ms(ms.saturating_add(add_ms)))
    }
}

/// A parsed time without an offset is meant in UTC, a date as its midnight.
fn civil_ms(parsed: &BrokenDownTime) -> Option<u64> {
    let utc = |time: jiff::civil::DateTime| time.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    let time: Timestamp = parsed
        .to_timestamp()
        .or_else(|_| parsed.to_datetime().and_then(utc))
        .or_else(|_| parsed.to_date().and_then(|date| utc(date.at(0, 0, 0, 0))))
        .ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

fn from_unix(text: &str, unit_ms: f64) -> Option<u64> {
    const LAST_MS: f64 = 253_402_300_800_000.0;
    let ms = text.trim().parse::<f64>().ok()? * unit_ms;
    (0.0..LAST_MS).contains(&ms).then_some(ms as u64)
}

fn text_of(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("`{text}` is no number")),
    }
}

fn whole(text: &str) -> Result<i64, String> {
    if let Ok(number) = text.parse::<i64>() {
        return Ok(number);
    }
    let number = number(text)?;
    // 2⁵³: beyond it a float no longer tells whole numbers apart.
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        return Ok(number as i64);
    }
    Err(format!("`{text}` is no whole number"))
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Some(true),
        "0" | "false" | "no" => Some(false),
        _ => None,
    }
}

fn guess(text: String) -> Value {
    match text.as_str() {
        "true" => return Value::from(true),
        "false" => return Value::from(false),
        // JSON's spelling of a number: `007` is a code, not the number 7.
        number => {
            if let Ok(value @ Value::Number(_)) = serde_json::from_str(number) {
                return value;
            }
        }
    }
    Value::from(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// One field `metadata.x` of a row with one column `c`.
    fn one(spec: &str, cell: Value) -> Result<Value, String> {
        let text = format!("kind = 'items'\n[fields]\nitem_id = {{ constant = 'i' }}\n'metadata.x' = {{ {spec} }}");
        let plan = Plan::new(&Mapping::parse("m", &text).unwrap());
        let row = Row { cells: vec![Some(cell)], position: 3 };
        let object = plan.convert(&row, &Tables::new()).map_err(|error| {
            assert_eq!(error.field.as_deref(), Some("metadata.x"));
            error.message
        })?;
        Ok(object.get("metadata").map_or(Value::Null, |metadata| metadata["x"].clone()))
    }

    fn text(spec: &str, cell: &str) -> Result<Value, String> {
        one(&format!("column = 'c', {spec}"), Value::from(cell))
    }

    #[test]
    fn each_type_reads_what_it_should() {
        assert_eq!(text("type = 'string'", " a b "), Ok(json!("a b")));
        assert_eq!(text("type = 'int'", "2008.0"), Ok(json!(2008)));
        assert_eq!(text("type = 'int'", "9007199254740993"), Ok(json!(9_007_199_254_740_993_i64)));
        assert_eq!(text("type = 'float'", "4.5"), Ok(json!(4.5)));
        assert_eq!(text("type = 'bool'", "Yes"), Ok(json!(true)));
        assert_eq!(text("type = 'auto'", "12"), Ok(json!(12)));
        assert_eq!(text("type = 'auto'", "0.5"), Ok(json!(0.5)));
        assert_eq!(text("type = 'auto'", "0"), Ok(json!(0)));
        assert_eq!(text("type = 'auto'", "007"), Ok(json!("007")));
        assert_eq!(text("type = 'auto'", "nan"), Ok(json!("nan")));
        assert_eq!(text("type = 'list', separator = '|'", "a| b||a"), Ok(json!(["a", "b"])));
        assert_eq!(text("type = 'list', separator = ',', limit = 1", "a,b"), Ok(json!(["a"])));
        assert_eq!(text("type = 'list', separator = ',', drop = ['a'], first = true", "a,b"), Ok(json!("b")));
        assert_eq!(text("type = 'list', separator = ',', drop = ['a'], first = true", "a"), Ok(json!(null)));
        assert_eq!(text("type = 'vector', separator = ' '", "1 -2.5"), Ok(json!([1.0, -2.5])));
        assert_eq!(one("column = 'c', type = 'list'", json!(["a", 1])), Ok(json!(["a", "1"])));
        assert_eq!(one("column = 'c', type = 'auto'", json!({"a": 1})), Ok(json!({"a": 1})));
        assert_eq!(one("column = 'c', type = 'float'", json!(1)), Ok(json!(1.0)));
    }

    #[test]
    fn each_type_refuses_what_it_should() {
        assert_eq!(text("type = 'int'", "2.5"), Err("`2.5` is no whole number".to_owned()));
        assert_eq!(text("type = 'int'", "1e300"), Err("`1e300` is no whole number".to_owned()));
        assert_eq!(text("type = 'float'", "inf"), Err("`inf` is no number".to_owned()));
        assert_eq!(text("type = 'bool'", "maybe"), Err("`maybe` is neither true nor false".to_owned()));
        assert_eq!(text("type = 'vector', separator = ' '", "1 x"), Err("`x` is no number".to_owned()));
        assert_eq!(
            one("columns = ['c'], type = 'list', flags = true", json!("2")),
            Err("column `c` is no flag but `2`".to_owned())
        );
    }

    #[test]
    fn times_are_read_by_their_format() {
        let noon = Ok(json!("1998-01-01T12:00:00.000Z"));
        assert_eq!(text("type = 'timestamp'", "1998-01-01T13:00:00+01:00"), noon);
        assert_eq!(text("type = 'timestamp', format = 'unix-seconds'", "883656000"), noon);
        assert_eq!(text("type = 'timestamp', format = 'unix-milliseconds'", "883656000000"), noon);
        assert_eq!(text("type = 'timestamp', format = '%d-%b-%Y %H:%M'", "01-Jan-1998 12:00"), noon);
        assert_eq!(text("type = 'timestamp', format = '%Y%m%d %H %z'", "19980101 10 -0200"), noon);
        assert_eq!(
            text("type = 'timestamp', format = '%d.%m.%Y'", "01.01.1998"),
            Ok(json!("1998-01-01T00:00:00.000Z"))
        );
        assert!(text("type = 'timestamp', format = '%d.%m.%Y'", "31.02.1998").is_err());
        assert!(text("type = 'timestamp', format = '%d.%m.%Y'", "01.01.1940").is_err(), "before 1970");
        assert!(text("type = 'timestamp', format = 'unix-seconds'", "-1").is_err());
        assert_eq!(
            one("type = 'sequence', start = '2024-01-01', step_s = 60", Value::Null),
            Ok(json!("2024-01-01T00:03:00.000Z"))
        );
    }

    #[test]
    fn strings_are_renamed_and_prefixed() {
        assert_eq!(text("values = { eng = 'English' }", "eng"), Ok(json!("English")));
        assert_eq!(text("values = { eng = 'English' }", "fre"), Ok(json!("fre")));
        assert_eq!(text("prefix = 'm_'", "5"), Ok(json!("m_5")));
        let thresholds = "thresholds = [{ at_least = 4, value = 'like' }, { at_least = 3, value = 'view' }]";
        assert_eq!(text(thresholds, "4.0"), Ok(json!("like")));
        assert_eq!(text(thresholds, "3.5"), Ok(json!("view")));
        assert_eq!(text(thresholds, "1"), Ok(json!(null)));
        assert_eq!(text(&format!("{thresholds}, otherwise = 'dislike'"), "1"), Ok(json!("dislike")));
        assert_eq!(text(thresholds, "x"), Err("`x` is no number".to_owned()));
    }

    #[test]
    fn a_missing_or_bad_id_is_told() {
        let mapping =
            Mapping::parse("m", "kind = 'items'\n[fields]\nitem_id = { column = 'c', prefix = 'm/' }").unwrap();
        let plan = Plan::new(&mapping);
        let told = |cell| plan.convert(&Row { cells: vec![cell], position: 0 }, &Tables::new()).unwrap_err().message;
        assert_eq!(told(None), "is missing");
        assert_eq!(told(Some(json!("1"))), "may hold letters, digits and `_ . : -` only, got '/' at byte 1");
    }
}
