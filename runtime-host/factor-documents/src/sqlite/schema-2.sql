-- What events made of a profile, which is merged into its document when it is
-- read. `state` is the encoded state; a document that the API writes has none
-- until the next event.
CREATE TABLE profile_states (
  id INTEGER PRIMARY KEY,
  scenario TEXT NOT NULL,
  handle INTEGER NOT NULL,
  -- The document's, from the last event on.
  version INTEGER NOT NULL,
  state BLOB NOT NULL,
  UNIQUE (scenario, handle)
);

-- The highest version of any document that was deleted: a new one starts above
-- it, so no key has a version twice.
CREATE TABLE version_floor (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL);
INSERT INTO version_floor VALUES (1, 0);
