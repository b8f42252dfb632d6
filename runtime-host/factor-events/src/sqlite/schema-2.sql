-- The log without the indexes that SQLite keeps with every insert: what finds
-- an event is written for many events at once, in the order of the index.
CREATE TABLE log_2 (
  "offset" INTEGER PRIMARY KEY,
  event_id TEXT NOT NULL,
  scenario TEXT NOT NULL,
  user TEXT NOT NULL,
  item TEXT NOT NULL,
  action_type TEXT NOT NULL,
  timestamp_ms INTEGER NOT NULL,
  body TEXT NOT NULL
);

-- The last offset that was given, which is never given again, and the last one
-- that the tables below have.
CREATE TABLE log_ends (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL, indexed INTEGER NOT NULL);
INSERT INTO log_ends SELECT 1, coalesce(max(seq), 0), 0 FROM sqlite_sequence WHERE name = 'events';

INSERT INTO log_2 SELECT "offset", event_id, scenario, user, item, action_type, timestamp_ms, body FROM events;
DROP TABLE events;
ALTER TABLE log_2 RENAME TO events;

-- The first columns are handles: 64-bit hashes of event, user and item id.
-- Different ids may have one handle, so the id itself is compared.
CREATE TABLE events_by_id (id INTEGER NOT NULL, "offset" INTEGER NOT NULL, PRIMARY KEY (id, "offset")) WITHOUT ROWID;
CREATE TABLE events_by_user (user INTEGER NOT NULL, "offset" INTEGER NOT NULL, PRIMARY KEY (user, "offset")) WITHOUT ROWID;
CREATE TABLE events_by_item (item INTEGER NOT NULL, "offset" INTEGER NOT NULL, PRIMARY KEY (item, "offset")) WITHOUT ROWID;

-- The effects of committed events that the tables they change do not have yet:
-- one row for the events of one call.
CREATE TABLE journal (seq INTEGER PRIMARY KEY, effects BLOB NOT NULL);
