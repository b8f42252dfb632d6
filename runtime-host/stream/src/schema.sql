-- How far operators have come with the log. A key is a text: its values, each between
-- separators (U+001F).
CREATE TABLE stream_progress (
  operator TEXT PRIMARY KEY,
  next INTEGER NOT NULL,
  newest_ms INTEGER NOT NULL,
  fired_ms INTEGER NOT NULL,
  firing_ms INTEGER,
  firing_key TEXT
) WITHOUT ROWID;

-- How often something was deleted of the tenant.
CREATE TABLE stream_purges (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL);
INSERT INTO stream_purges VALUES (1, 0);

-- Windows that have to speak again.
CREATE TABLE stream_due (
  operator TEXT NOT NULL,
  key TEXT NOT NULL,
  end_ms INTEGER NOT NULL,
  PRIMARY KEY (operator, key, end_ms)
) WITHOUT ROWID;

CREATE TABLE stream_panes (
  operator TEXT NOT NULL,
  key TEXT NOT NULL,
  from_ms INTEGER NOT NULL,
  accumulator BLOB NOT NULL,
  PRIMARY KEY (operator, key, from_ms)
) WITHOUT ROWID;
CREATE INDEX stream_panes_by_time ON stream_panes (operator, from_ms);

-- Labels are a JSON array of pairs, by name.
CREATE TABLE counters (name TEXT NOT NULL, labels TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (name, labels)) WITHOUT ROWID;

CREATE TABLE topics (
  topic TEXT NOT NULL,
  "offset" INTEGER NOT NULL,
  key TEXT NOT NULL,
  body TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (topic, "offset")
) WITHOUT ROWID;
CREATE INDEX topics_by_time ON topics (at_ms);
CREATE TABLE topic_ends (topic TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE dead_letters (
  number INTEGER PRIMARY KEY,
  operator TEXT NOT NULL,
  "offset" INTEGER NOT NULL,
  scenario TEXT NOT NULL,
  user TEXT NOT NULL,
  about TEXT NOT NULL,
  reason TEXT NOT NULL
);
