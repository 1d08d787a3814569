-- Times are Unix milliseconds. Blobs named `data` are CBOR of the wire's messages.

CREATE TABLE node (
    node        TEXT PRIMARY KEY,
    site        TEXT NOT NULL,
    presence    TEXT NOT NULL,
    reason      TEXT,
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    offset_ms   INTEGER NOT NULL,
    connection  INTEGER NOT NULL,
    birth       BLOB NOT NULL,
    report      BLOB
) WITHOUT ROWID;

-- Everything up to `contiguous` is stored or known never to come; what is stored above it is in stream_ahead.
CREATE TABLE stream (
    node        TEXT NOT NULL,
    stream      BLOB NOT NULL,
    contiguous  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    PRIMARY KEY (node, stream)
) WITHOUT ROWID;

CREATE TABLE stream_ahead (
    node        TEXT NOT NULL,
    stream      BLOB NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    PRIMARY KEY (node, stream, first)
) WITHOUT ROWID;

CREATE TABLE series (
    id          INTEGER PRIMARY KEY,
    node        TEXT NOT NULL,
    label       TEXT NOT NULL,
    data        BLOB NOT NULL,
    UNIQUE (node, label)
);

-- The current epoch's numbers of a node's series.
CREATE TABLE dictionary (
    node        TEXT NOT NULL,
    slot        INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    series      INTEGER NOT NULL REFERENCES series (id),
    PRIMARY KEY (node, slot)
) WITHOUT ROWID;

CREATE TABLE point (
    series      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    mean        REAL,
    min         REAL,
    max         REAL,
    PRIMARY KEY (series, at)
) WITHOUT ROWID;
CREATE INDEX point_at ON point (at);

CREATE TABLE event (
    node        TEXT NOT NULL,
    event       BLOB NOT NULL,
    onset       INTEGER NOT NULL,
    received    INTEGER NOT NULL,
    phase       INTEGER NOT NULL,
    -- 0: the incident logic has not looked at this phase yet.
    judged      INTEGER NOT NULL,
    incident    INTEGER,
    data        BLOB NOT NULL,
    PRIMARY KEY (node, event)
) WITHOUT ROWID;
CREATE INDEX event_onset ON event (onset);
CREATE INDEX event_incident ON event (incident) WHERE incident IS NOT NULL;
CREATE INDEX event_unjudged ON event (received) WHERE judged = 0;

CREATE TABLE links (
    node        TEXT NOT NULL,
    start       INTEGER NOT NULL,
    data        BLOB NOT NULL,
    PRIMARY KEY (node, start)
) WITHOUT ROWID;

CREATE TABLE incident (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    open        INTEGER NOT NULL,
    opened      INTEGER NOT NULL,
    -- The incident as JSON, as the API gives it.
    data        TEXT NOT NULL
);
CREATE INDEX incident_open ON incident (open) WHERE open = 1;

CREATE TABLE incident_node (
    incident    INTEGER NOT NULL,
    node        TEXT NOT NULL,
    PRIMARY KEY (incident, node)
) WITHOUT ROWID;
CREATE INDEX incident_node_node ON incident_node (node);

CREATE TABLE audit (
    id          INTEGER PRIMARY KEY,
    incident    INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    actor       TEXT NOT NULL,
    action      TEXT NOT NULL,
    note        TEXT
);
CREATE INDEX audit_incident ON audit (incident);
CREATE TRIGGER audit_is_final BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY,
    received    INTEGER NOT NULL,
    topic       TEXT NOT NULL,
    client      TEXT NOT NULL,
    reason      TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    head        BLOB NOT NULL
);

CREATE TABLE counter (
    name        TEXT PRIMARY KEY,
    value       INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counter VALUES ('messages', 0);
