-- What nodes say of their connections, a row a message: a minute may need several, and an agent that restarts within one
-- sends two of it. `id` is the order of arrival, `minute` is aligned and by the collector's clock.
DROP TABLE links;
CREATE TABLE links (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    node        TEXT NOT NULL,
    site        TEXT NOT NULL,
    minute      INTEGER NOT NULL,
    data        BLOB NOT NULL
);
CREATE INDEX links_minute ON links (minute);

-- Which node had which address, and when. `until` is null as long as its newest birth names it.
CREATE TABLE address (
    site        TEXT NOT NULL,
    address     TEXT NOT NULL,
    node        TEXT NOT NULL,
    since       INTEGER NOT NULL,
    until       INTEGER,
    PRIMARY KEY (site, address, node, since)
) WITHOUT ROWID;
CREATE INDEX address_node ON address (node) WHERE until IS NULL;

CREATE TABLE vertex (
    id          TEXT PRIMARY KEY,
    last_seen   INTEGER NOT NULL,
    -- As JSON, as the API gives it.
    data        TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE edge (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    client      TEXT NOT NULL,
    server      TEXT NOT NULL,
    protocol    INTEGER NOT NULL,
    port        INTEGER NOT NULL,
    via         TEXT,
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL
);
CREATE INDEX edge_last_seen ON edge (last_seen);

-- What an edge did in an hour; a row is a function of the messages of that hour and is replaced as a whole.
CREATE TABLE edge_hour (
    hour        INTEGER NOT NULL,
    edge        INTEGER NOT NULL,
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    data        BLOB NOT NULL,
    PRIMARY KEY (hour, edge)
) WITHOUT ROWID;
CREATE INDEX edge_hour_edge ON edge_hour (edge);

CREATE TABLE map_change (
    at          INTEGER NOT NULL,
    edge        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    data        TEXT NOT NULL,
    PRIMARY KEY (at, edge, kind)
) WITHOUT ROWID;
