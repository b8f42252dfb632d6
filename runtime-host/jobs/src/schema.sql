CREATE TABLE jobs (
  scenario TEXT NOT NULL,
  kind TEXT NOT NULL,
  -- The last fencing token that was given out.
  token INTEGER NOT NULL,
  scheduled_ms INTEGER NOT NULL,
  -- The id of the run that waits or is at work.
  open TEXT,
  PRIMARY KEY (scenario, kind)
) WITHOUT ROWID;

CREATE TABLE job_runs (
  id TEXT PRIMARY KEY,
  scenario TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  -- JSON.
  record TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX job_runs_of ON job_runs (scenario, kind, id);

-- What open runs keep to be taken up again.
CREATE TABLE job_checkpoints (
  scenario TEXT NOT NULL,
  kind TEXT NOT NULL,
  bytes BLOB NOT NULL,
  UNIQUE (scenario, kind)
);
