-- What people said of nodes in their configurations, as the newest births have it.
CREATE TABLE tag (
    node        TEXT NOT NULL,
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,
    PRIMARY KEY (node, key)
) WITHOUT ROWID;
