-- Who may be a node. Of secrets and keys only SHA-256 is here.
CREATE TABLE enroll_token (
    id          TEXT PRIMARY KEY,
    secret_hash BLOB NOT NULL,
    site        TEXT NOT NULL,
    uses_left   INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    revoked_ms  INTEGER,
    -- Whether it may take the place of a node that has the name already.
    replace     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE node_key (
    node        TEXT PRIMARY KEY,
    site        TEXT NOT NULL,
    spki_hash   BLOB NOT NULL,
    serial      TEXT NOT NULL,
    not_after_ms INTEGER NOT NULL,
    enrolled_ms INTEGER NOT NULL,
    revoked_ms  INTEGER,
    reason      TEXT
) WITHOUT ROWID;

