-- A message may be about several minutes, from `minute` on.
ALTER TABLE links ADD COLUMN minutes INTEGER NOT NULL DEFAULT 1;
DROP INDEX links_minute;
CREATE INDEX links_minute ON links (minute, minutes);

-- What the newest birth of a node says it listens on, as JSON. A change gets a new `id`, so that a reader finds what is new.
CREATE TABLE listening (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    node        TEXT NOT NULL UNIQUE,
    site        TEXT NOT NULL,
    data        TEXT NOT NULL
);
