-- Documents of every collection. `row` stands before `body`, which may be long,
-- so that reading a row does not walk the pages of a body.
CREATE TABLE documents (
  collection INTEGER NOT NULL,
  scenario TEXT NOT NULL,
  -- The handle of `id`, an unsigned 64-bit number stored as a signed one.
  handle INTEGER NOT NULL,
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  -- Milliseconds since 1970, as in the body.
  created_ms INTEGER NOT NULL,
  -- As in the body; empty for none.
  status TEXT NOT NULL,
  -- Items only: the encoded item row.
  row BLOB,
  body TEXT NOT NULL,
  UNIQUE (collection, scenario, handle)
);

CREATE INDEX documents_by_time ON documents (collection, scenario, created_ms, handle, status);
CREATE INDEX documents_by_time_everywhere ON documents (collection, created_ms, handle, status);
-- Collection 2: profiles, by user.
CREATE INDEX profiles_by_user ON documents (id) WHERE collection = 2;

-- Items by term. The newest active items of a term are one range of it.
CREATE TABLE item_terms (
  scenario TEXT NOT NULL,
  -- 0: every item, with an empty value; 1: category; 2: tags.
  field INTEGER NOT NULL,
  value TEXT NOT NULL,
  active INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  handle INTEGER NOT NULL,
  PRIMARY KEY (scenario, field, value, active, created_ms, handle)
) WITHOUT ROWID;
