-- Events that no agent sent: who says so and of what (JSON), and when they are over unless said again.
ALTER TABLE event ADD COLUMN outside TEXT;
ALTER TABLE event ADD COLUMN expires INTEGER;
-- Why no incident has the event.
ALTER TABLE event ADD COLUMN digest TEXT;
CREATE INDEX event_expires ON event (expires) WHERE expires IS NOT NULL;
CREATE INDEX event_outside ON event (onset) WHERE outside IS NOT NULL;

-- When a node went last, as well as that is known; it stays when the node is back.
ALTER TABLE node ADD COLUMN went INTEGER;
CREATE INDEX node_gone ON node (node) WHERE presence <> 'online';

-- Rankings of causes with what they were made of, both JSON.
CREATE TABLE ranking (
    incident    INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    evidence    TEXT NOT NULL,
    ranking     TEXT NOT NULL,
    PRIMARY KEY (incident, at)
) WITHOUT ROWID;

CREATE TABLE silence (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    ends        INTEGER NOT NULL,
    -- JSON, as the API gives it; so in the next table.
    data        TEXT NOT NULL
);
CREATE INDEX silence_ends ON silence (ends);

-- "window" is a word of SQL.
CREATE TABLE recurring (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    expires     INTEGER NOT NULL,
    data        TEXT NOT NULL
);

CREATE TABLE notification (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    incident    INTEGER NOT NULL,
    receiver    TEXT NOT NULL,
    state       TEXT NOT NULL,
    made        INTEGER NOT NULL,
    next        INTEGER NOT NULL,
    delivery    TEXT NOT NULL,
    body        TEXT NOT NULL,
    data        TEXT NOT NULL,
    -- Nobody is told the same twice.
    UNIQUE (incident, receiver, state)
);
CREATE INDEX notification_due ON notification (next) WHERE delivery = 'waiting';

-- Everything that was done beside incidents.
CREATE TABLE trail (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    actor       TEXT NOT NULL,
    action      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    note        TEXT
);
CREATE TRIGGER trail_is_final BEFORE UPDATE ON trail BEGIN SELECT RAISE(ABORT, 'the trail is append-only'); END;
