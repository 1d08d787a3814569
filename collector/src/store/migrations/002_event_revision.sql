-- Which phase of an event was looked at: the kind of phase alone does not tell, an open event is renewed many times.
ALTER TABLE event ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
