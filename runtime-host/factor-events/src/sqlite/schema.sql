-- The behaviour log. An offset is never given twice, even when the last events
-- of the log were deleted.
CREATE TABLE events (
  "offset" INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id TEXT NOT NULL UNIQUE,
  scenario TEXT NOT NULL,
  user TEXT NOT NULL,
  item TEXT NOT NULL,
  action_type TEXT NOT NULL,
  timestamp_ms INTEGER NOT NULL,
  body TEXT NOT NULL
);

-- Each ends with the offset, as every index of a table with rowids does.
CREATE INDEX events_by_user ON events (user);
CREATE INDEX events_by_item ON events (item);
