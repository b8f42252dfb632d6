-- Slates as they were shown. A number is never given twice, even when the last slates
-- were deleted: whoever reads on misses none and reads none again.
CREATE TABLE exposure_log (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  scenario TEXT NOT NULL,
  user TEXT NOT NULL,
  shown_at_ms INTEGER NOT NULL,
  slate BLOB NOT NULL
);

-- Each ends with the number, as every index of a table with rowids does.
CREATE INDEX exposure_log_by_scenario ON exposure_log (scenario);
CREATE INDEX exposure_log_by_user ON exposure_log (user);
