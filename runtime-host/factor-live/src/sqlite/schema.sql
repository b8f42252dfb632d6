-- `hot:items:{tenant}:{scenario}`.
CREATE TABLE hot_lists (
  scenario TEXT PRIMARY KEY,
  half_life_s INTEGER NOT NULL,
  -- How many rows of hot_items it has.
  members INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE hot_items (
  scenario TEXT NOT NULL,
  handle INTEGER NOT NULL,
  item TEXT NOT NULL,
  -- As of at_ms; it halves every half_life_s of its list.
  score REAL NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (scenario, handle)
) WITHOUT ROWID;

-- `exposed:{tenant}:{user}:{scenario}`: one row per call that showed items, so
-- that showing twenty is one insert. An item's expiry is that of its last row.
CREATE TABLE exposures (
  seq INTEGER PRIMARY KEY,
  user TEXT NOT NULL,
  scenario TEXT NOT NULL,
  expires_ms INTEGER NOT NULL,
  -- A JSON array of item ids.
  items TEXT NOT NULL
);

CREATE INDEX exposures_by_user ON exposures (user, scenario);
CREATE INDEX exposures_by_scenario ON exposures (scenario);
CREATE INDEX exposures_by_expiry ON exposures (expires_ms);

-- `item:stats:{tenant}:{item}`.
CREATE TABLE item_stats (
  handle INTEGER NOT NULL,
  field TEXT NOT NULL,
  item TEXT NOT NULL,
  value REAL NOT NULL,
  PRIMARY KEY (handle, field)
) WITHOUT ROWID;
