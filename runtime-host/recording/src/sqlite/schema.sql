CREATE TABLE recordings (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request TEXT NOT NULL,
    scenario TEXT NOT NULL,
    user TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    status INTEGER NOT NULL,
    elapsed_us INTEGER NOT NULL,
    recording BLOB NOT NULL
) STRICT;
CREATE INDEX recordings_by_request ON recordings (request);
CREATE INDEX recordings_by_scenario ON recordings (scenario, seq);
CREATE INDEX recordings_by_user ON recordings (user);
CREATE INDEX recordings_by_end ON recordings (expires_ms);
