//! Reading: pages of a query, lists of the newest items, item rows.

use std::sync::Arc;

use funnelweb_core::row::ItemRow;
use rusqlite::{Connection, OptionalExtension, Row, params, types::Value as Sql};

use crate::{
    backend::{Cursor, term_field},
    body::{self, Field},
    store::{Collection, Document, Error, Key, Page, Query, Sort, Term},
};

/// The document at `key`, if it is that of this id.
pub(super) fn document(
    connection: &Connection,
    collection: Collection,
    key: &Key,
    handle: u64,
) -> Result<Option<Document>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT scenario, id, version, body, created_ms, handle FROM documents
         WHERE collection = ? AND scenario = ? AND handle = ? AND id = ?",
    )?;
    let found =
        statement.query_row(params![collection.number(), key.scenario_id, handle.cast_signed(), key.id], to_document);
    Ok(found.optional()?)
}

pub(super) fn to_document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document {
        key: Key { scenario_id: row.get(0)?, id: row.get(1)? },
        version: row.get::<_, i64>(2)?.cast_unsigned(),
        body: row.get(3)?,
    })
}

/// A statement as it is put together.
#[derive(Default)]
struct Select {
    conditions: String,
    values: Vec<Sql>,
}

impl Select {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Sql>) {
        self.conditions.push_str(if self.conditions.is_empty() { " WHERE " } else { " AND " });
        self.conditions.push_str(condition);
        self.values.extend(values);
    }
}

/// One page. With a scenario and a term the index of terms leads; else the
/// documents in their order, of which status and terms are looked up.
pub(super) fn query(connection: &Connection, collection: Collection, query: &Query) -> Result<Page, Error> {
    let mut select = Select::default();
    let text = |text: &str| Sql::Text(text.to_owned());
    let mut terms = vec![];
    terms.extend(query.category.as_ref().map(|value| (Field::Category, value)));
    terms.extend(query.tag.as_ref().map(|value| (Field::Tags, value)));
    let lead = if query.scenario_id.is_some() { terms.pop() } else { None };
    let (from, at) = match lead {
        Some((field, value)) => {
            let scenario = query.scenario_id.as_deref().unwrap_or_default();
            select.and(
                "t.scenario = ? AND t.field = ? AND t.value = ?",
                [text(scenario), Sql::Integer(field as i64), text(value)],
            );
            match query.status.as_deref() {
                Some("active") => select.and("t.active = 1", []),
                Some(_) => select.and("t.active = 0", []),
                None => select.and("t.active IN (0, 1)", []),
            }
            // A cross join is not reordered.
            (
                "item_terms t CROSS JOIN documents d ON d.collection = 1 AND d.scenario = t.scenario AND d.handle = t.handle",
                "t",
            )
        }
        None => {
            select.and("d.collection = ?", [Sql::Integer(collection.number())]);
            if let Some(scenario) = &query.scenario_id {
                select.and("d.scenario = ?", [text(scenario)]);
            }
            ("documents d", "d")
        }
    };
    if let Some(status) = &query.status {
        select.and("d.status = ?", [text(status)]);
    }
    for (field, value) in terms {
        let has_term =
            "EXISTS (SELECT 1 FROM item_terms u WHERE u.scenario = d.scenario AND u.field = ? AND u.value = ?
             AND u.active = (d.status = 'active') AND u.created_ms = d.created_ms AND u.handle = d.handle)";
        select.and(has_term, [Sql::Integer(field as i64), text(value)]);
    }
    let time = |ms: u64| Sql::Integer(i64::try_from(ms).unwrap_or(i64::MAX));
    if let Some(from_ms) = query.created.from_ms {
        select.and(&format!("{at}.created_ms >= ?"), [time(from_ms)]);
    }
    if let Some(to_ms) = query.created.to_ms {
        select.and(&format!("{at}.created_ms < ?"), [time(to_ms)]);
    }
    let (after, direction) = if query.sort == Sort::Newest { ('<', "DESC") } else { ('>', "ASC") };
    if let Some(cursor) = query.cursor.as_deref().and_then(|cursor| Cursor::decode(cursor, query.sort)) {
        let place = [Sql::Integer(cursor.created_ms), Sql::Integer(cursor.handle)];
        select.and(&format!("({at}.created_ms, {at}.handle) {after} (?, ?)"), place);
    }
    // One more than asked for tells whether there is a next page.
    let sql = format!(
        "SELECT d.scenario, d.id, d.version, d.body, d.created_ms, d.handle FROM {from}{}
         ORDER BY {at}.created_ms {direction}, {at}.handle {direction} LIMIT {}",
        select.conditions,
        query.limit + 1
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(select.values))?;
    let mut page = Page::default();
    let mut last = None;
    while let Some(row) = rows.next()? {
        if page.documents.len() == query.limit as usize {
            page.next = last.map(Cursor::encode);
            break;
        }
        last = Some(Cursor { sort: query.sort, created_ms: row.get(4)?, handle: row.get(5)? });
        page.documents.push(to_document(row)?);
    }
    Ok(page)
}

/// The newest active items of a term: one range of the index.
pub(super) fn newest(
    connection: &Connection,
    scenario: &str,
    term: Option<&Term>,
    limit: u32,
) -> Result<Arc<[u64]>, Error> {
    let field = term_field(term)?;
    let value = term.map_or("", |term| term.value.as_str());
    let mut statement = connection.prepare_cached(
        "SELECT handle FROM item_terms WHERE scenario = ? AND field = ? AND value = ? AND active = 1
         ORDER BY created_ms DESC, handle DESC LIMIT ?",
    )?;
    let handles = statement.query_map(params![scenario, field as i64, value, limit], |row| row.get::<_, i64>(0))?;
    Ok(handles.map(|handle| handle.map(i64::cast_unsigned)).collect::<Result<_, _>>()?)
}

/// The row of an item, active or not.
pub(super) fn row(connection: &Connection, scenario: &str, handle: u64) -> Result<Option<Arc<ItemRow>>, Error> {
    let mut statement =
        connection.prepare_cached("SELECT row FROM documents WHERE collection = 1 AND scenario = ? AND handle = ?")?;
    let key = params![scenario, handle.cast_signed()];
    let encoded: Option<Option<Vec<u8>>> = statement.query_row(key, |row| row.get(0)).optional()?;
    let Some(encoded) = encoded else { return Ok(None) };
    match encoded.as_deref().and_then(ItemRow::decode) {
        Some(row) => Ok(Some(Arc::new(row))),
        // Of another version of this program: derive it anew.
        None => derive(connection, scenario, handle).map(Some),
    }
}

fn derive(connection: &Connection, scenario: &str, handle: u64) -> Result<Arc<ItemRow>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT id, body FROM documents WHERE collection = 1 AND scenario = ? AND handle = ?")?;
    let key = params![scenario, handle.cast_signed()];
    let (id, text): (String, String) = statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut row = ItemRow::from_document(&body::parse_stored(&text));
    row.id = id;
    Ok(Arc::new(row))
}
