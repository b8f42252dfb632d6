//! Who owns which tables, and how they come to be.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::{Error, Write};

/// What to delete everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// Everything of this user, in every scenario.
    User(String),
    /// Everything of this scenario.
    Scenario(String),
}

/// The tables of one crate within every tenant's file, and what it keeps in
/// memory of them.
pub trait Part: Send + Sync + 'static {
    /// Names the part in the file; never changes.
    fn name(&self) -> &'static str;

    /// SQL scripts; the first `n` have been run where the file says `n`. A
    /// script that was released is never edited, a new one is appended.
    fn migrations(&self) -> &'static [&'static str];

    /// Deletes what this part holds of a user or scenario, and has what is in
    /// memory follow after the commit. Returns how many documents or events
    /// went.
    ///
    /// # Errors
    /// Any error undoes the purge of every part.
    fn purge(&self, write: &mut Write<'_>, what: &Purge) -> Result<u64, Error>;

    /// Writes what the part holds back ([`crate::Overlay`]) to the tables. Run
    /// when a file is opened and by [`Write::settle`].
    ///
    /// # Errors
    /// Any error undoes the job, or keeps the file from being opened.
    fn settle(&self, _: &mut Write<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// The id of an item that has the handle, if this part knows one: others store
    /// handles alone.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be read.
    fn item_id(&self, _: &Connection, _handle: u64) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// The opening `file` ([`crate::TenantFile::number`]) is closed: what is in
    /// memory of it may go.
    fn closed(&self, _file: u64) {}
}

/// Brings the tables of every part up to date, in one transaction.
pub(crate) fn migrate(
    connection: &mut Connection,
    parts: &[(&'static str, &'static [&'static str])],
) -> Result<(), Error> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_versions (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS settled (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL);
         INSERT OR IGNORE INTO settled VALUES (1, 0)",
    )?;
    for (name, migrations) in parts {
        let version: Option<i64> = tx
            .query_row("SELECT version FROM schema_versions WHERE part = ?", params![name], |row| row.get(0))
            .optional()?;
        let version = usize::try_from(version.unwrap_or(0)).unwrap_or(usize::MAX);
        if version > migrations.len() {
            return Err(Error::Unavailable(format!(
                "the tables of {name} are at version {version}, this program knows {}",
                migrations.len()
            )));
        }
        for script in migrations.iter().skip(version) {
            tx.execute_batch(script)?;
        }
        tx.execute("INSERT OR REPLACE INTO schema_versions VALUES (?, ?)", params![name, migrations.len() as i64])?;
    }
    Ok(tx.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_runs_once_and_a_newer_file_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first: &[&str] = &["CREATE TABLE a (x)"];
        let second: &[&str] = &["CREATE TABLE a (x)", "ALTER TABLE a ADD y"];
        migrate(&mut connection, &[("a", first)]).unwrap();
        migrate(&mut connection, &[("a", second), ("b", &["CREATE TABLE b (x)"])]).unwrap();
        migrate(&mut connection, &[("a", second)]).unwrap();
        connection.execute_batch("INSERT INTO a (x, y) VALUES (1, 2); INSERT INTO b VALUES (1)").unwrap();
        let error = migrate(&mut connection, &[("a", first)]).unwrap_err();
        assert_eq!(error.to_string(), "the tables of a are at version 2, this program knows 1");
    }

    #[test]
    fn a_failing_script_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[("a", &["CREATE TABLE a (x)", "CREATE TABLE a (x)"])]).unwrap_err();
        assert!(!connection.table_exists(None, "a").unwrap());
    }
}
