-- Who may ask. A password is an argon2 hash with its parameters.
CREATE TABLE user (
    name        TEXT PRIMARY KEY,
    role        TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    disabled_ms INTEGER
) WITHOUT ROWID;

CREATE TABLE api_token (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    role        TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    created_ms  INTEGER NOT NULL,
    expires_ms  INTEGER,
    revoked_ms  INTEGER,
    last_used_ms INTEGER,
    -- The user who made it: it ends with them.
    made_by     TEXT
) WITHOUT ROWID;

CREATE TABLE session (
    id_hash     BLOB PRIMARY KEY,
    user        TEXT NOT NULL,
    csrf        TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_user ON session (user);

-- Everything that was changed, by whom.
CREATE TABLE access_log (
    n           INTEGER PRIMARY KEY,
    at_ms       INTEGER NOT NULL,
    who         TEXT NOT NULL,
    role        TEXT NOT NULL,
    address     TEXT NOT NULL,
    method      TEXT NOT NULL,
    path        TEXT NOT NULL,
    status      INTEGER NOT NULL
);
CREATE TRIGGER access_log_is_final BEFORE UPDATE ON access_log BEGIN SELECT RAISE(ABORT, 'the log of changes is append-only'); END;
