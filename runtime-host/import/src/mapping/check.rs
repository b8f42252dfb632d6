//! The rules a mapping must keep, beyond its types.

use super::{FieldSpec, FieldType, Format, Kind, Layout, Mapping, SourceSpec};
use crate::Result;

impl Mapping {
    /// Checks every rule that needs no source.
    ///
    /// # Errors
    /// The first rule broken, with its key.
    pub(super) fn check(&self) -> Result<()> {
        self.check_source("source", &self.source)?;
        for (name, table) in &self.tables {
            self.check_source(&format!("tables.{name}.source"), &table.source)?;
            if table.source.format != Format::Csv || table.source.layout != Layout::Rows {
                return Err(self.fault(format!("tables.{name}.source"), "a table is rows of csv"));
            }
            if let Some(names) = &table.names {
                match self.tables.get(names) {
                    Some(other) if other.names.is_none() => {}
                    Some(_) => {
                        return Err(self.fault(format!("tables.{name}.names"), "that table has `names` of its own"));
                    }
                    None => return Err(self.fault(format!("tables.{name}.names"), format!("no table `{names}`"))),
                }
            }
        }
        for (name, spec) in &self.fields {
            self.check_name(name)?;
            self.check_field(name, spec)?;
        }
        let required: &[&str] = match self.kind {
            Kind::Items => &["item_id"],
            Kind::Behaviors => &["user_id", "item_id", "action_type"],
        };
        match required.iter().find(|name| !self.fields.is_empty() && !self.fields.contains_key(**name)) {
            Some(name) => Err(self.fault(format!("fields.{name}"), "is required")),
            None => Ok(()),
        }
    }

    fn check_source(&self, key: &str, source: &SourceSpec) -> Result<()> {
        let mut bytes = source.delimiter.bytes();
        match (bytes.next(), bytes.next()) {
            (Some(byte), None) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | b'"') => {}
            _ => return Err(self.fault(format!("{key}.delimiter"), "must be one ascii character")),
        }
        let named_by_lines = source.format == Format::Ndjson || source.layout == Layout::UserLists;
        if source.format == Format::Ndjson && source.layout == Layout::UserLists {
            return Err(self.fault(format!("{key}.layout"), "user-lists are not json"));
        }
        if named_by_lines || source.header {
            if source.columns.is_empty() {
                return Ok(());
            }
            return Err(self.fault(format!("{key}.columns"), "are for csv rows with `header = false` only"));
        }
        if source.columns.is_empty() {
            return Err(self.fault(format!("{key}.columns"), "are needed when `header` is false"));
        }
        Ok(())
    }

    fn check_name(&self, name: &str) -> Result<()> {
        let (known, folders): (&[&str], &[&str]) = match self.kind {
            Kind::Items => (&["item_id", "status", "created_at", "embedding"], &["metadata"]),
            Kind::Behaviors => (&["event_id", "user_id", "item_id", "action_type", "timestamp"], &["context", "extra"]),
        };
        let in_folder = name
            .split_once('.')
            .is_some_and(|(folder, rest)| folders.contains(&folder) && !rest.is_empty() && !rest.contains('.'));
        if known.contains(&name) || in_folder {
            return Ok(());
        }
        let folders: Vec<String> = folders.iter().map(|folder| format!("{folder}.…")).collect();
        let message = format!("no such field; there are {}, {}", known.join(", "), folders.join(", "));
        Err(self.fault(format!("fields.{name}"), message))
    }

    fn check_field(&self, name: &str, spec: &FieldSpec) -> Result<()> {
        let fault = |key: &str, message: &str| Err(self.fault(format!("fields.{name}{key}"), message));
        let sources = [
            spec.column.is_some(),
            !spec.columns.is_empty(),
            spec.constant.is_some(),
            spec.kind == FieldType::Sequence,
        ];
        if sources.iter().filter(|given| **given).count() != 1 {
            return fault("", "needs exactly one of `column`, `columns`, `constant` and `type = \"sequence\"`");
        }
        if let Some(table) = &spec.table {
            if !self.tables.contains_key(table) {
                return fault(".table", "no such table");
            }
            if spec.column.is_none() {
                return fault(".table", "needs `column`, the key to look up by");
            }
        }
        if spec.flags && spec.columns.is_empty() {
            return fault(".flags", "needs `columns`");
        }
        let list = matches!(spec.kind, FieldType::List | FieldType::Vector);
        if (spec.flags || spec.table.is_some()) && spec.kind != FieldType::List {
            return fault(".type", "must be \"list\" with `flags` or `table`");
        }
        if !list && (spec.separator.is_some() || spec.limit.is_some() || spec.first || !spec.drop.is_empty()) {
            return fault(".type", "must be \"list\" or \"vector\" with `separator`, `limit`, `first` or `drop`");
        }
        if spec.kind == FieldType::Vector && spec.first {
            return fault(".first", "is for lists of strings");
        }
        if spec.separator.as_deref() == Some("") {
            return fault(".separator", "must not be empty");
        }
        let text = matches!(spec.kind, FieldType::String | FieldType::List);
        if !text && (spec.prefix.is_some() || !spec.values.is_empty() || !spec.thresholds.is_empty()) {
            return fault(".type", "must be \"string\" or \"list\" with `prefix`, `values` or `thresholds`");
        }
        if spec.thresholds.is_empty() && spec.otherwise.is_some() {
            return fault(".otherwise", "needs `thresholds`");
        }
        if spec.kind != FieldType::Timestamp && (spec.format.is_some() || spec.add_ms.is_some()) {
            return fault(".type", "must be \"timestamp\" with `format` or `add_ms`");
        }
        let sequence = spec.kind == FieldType::Sequence;
        if sequence != spec.start.is_some() || sequence != spec.step_s.is_some() {
            return fault(".type", "`start` and `step_s` are needed for \"sequence\", and for nothing else");
        }
        if spec.start.as_deref().is_some_and(|start| funnelweb_core::time::parse_ms(start).is_none()) {
            return fault(".start", "is no time; write 2024-01-31T12:00:00Z");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Mapping::parse("my.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn every_fault_names_file_and_key() {
        let item = "kind = 'items'\n[fields]\nitem_id = { column = 'id' }\n";
        assert!(fault("kind = ").starts_with("mapping my.toml: (not toml): "));
        assert!(fault("kind = 'films'").starts_with("mapping my.toml: kind: unknown variant `films`"));
        assert!(fault(&format!("{item}x = 1")).starts_with("mapping my.toml: fields.x: "));
        for (line, message) in [
            ("status = { colum = 'a' }", "fields.status.colum: unknown field `colum`"),
            ("status = {}", "fields.status: needs exactly one of"),
            ("status = { column = 'a', constant = 'b' }", "fields.status: needs exactly one of"),
            ("title = { column = 'a' }", "fields.title: no such field"),
            ("'metadata.a.b' = { column = 'a' }", "fields.metadata.a.b: no such field"),
            ("status = { column = 'a', type = 'text' }", "fields.status.type: unknown variant `text`"),
            ("status = { column = 'a', table = 't', type = 'list' }", "fields.status.table: no such table"),
            ("status = { column = 'a', flags = true, type = 'list' }", "fields.status.flags: needs `columns`"),
            ("status = { columns = ['a'], flags = true }", "fields.status.type: must be \"list\""),
            ("status = { column = 'a', separator = '|' }", "fields.status.type: must be \"list\""),
            ("status = { column = 'a', type = 'list', separator = '' }", "fields.status.separator: must not be empty"),
            ("status = { column = 'a', type = 'vector', first = true }", "fields.status.first: is for lists"),
            ("status = { column = 'a', type = 'int', prefix = 'x' }", "fields.status.type: must be \"string\""),
            ("status = { column = 'a', otherwise = 'x' }", "fields.status.otherwise: needs `thresholds`"),
            ("status = { column = 'a', format = '%Y' }", "fields.status.type: must be \"timestamp\""),
            ("status = { type = 'sequence', start = '2024-01-01' }", "fields.status.type: `start` and `step_s`"),
            ("status = { type = 'sequence', start = 'x', step_s = 1 }", "fields.status.start: is no time"),
        ] {
            let error = fault(&format!("{item}{line}"));
            assert!(error.starts_with(&format!("mapping my.toml: {message}")), "{line}: {error}");
        }
        for (text, message) in [
            ("kind = 'items'\n[fields]\nstatus = { column = 'a' }", "fields.item_id: is required"),
            ("kind = 'items'\n[source]\ndelimiter = '::'", "source.delimiter: must be one ascii character"),
            ("kind = 'items'\n[source]\nheader = false", "source.columns: are needed"),
            ("kind = 'items'\n[source]\ncolumns = ['a']", "source.columns: are for csv rows"),
            ("kind = 'items'\n[source]\nformat = 'ndjson'\nlayout = 'user-lists'", "source.layout: user-lists"),
            ("kind = 'items'\n[source]\nseparator = ';'", "source.separator: unknown field"),
            (
                "kind = 'items'\n[tables.a]\nfile = 'f'\nkey = 'k'\nvalue = 'v'\nnames = 'b'",
                "tables.a.names: no table `b`",
            ),
            (
                "kind = 'items'\n[tables.a]\nfile = 'f'\nkey = 'k'\nvalue = 'v'\n[tables.a.source]\nformat = 'ndjson'",
                "tables.a.source: a table is rows of csv",
            ),
        ] {
            let error = fault(text);
            assert!(error.starts_with(&format!("mapping my.toml: {message}")), "{text}: {error}");
        }
    }
}
