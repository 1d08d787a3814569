-- What is asked of events again and again stands beside them: whether one alarms (0: it only explains), and how bad it is, 0 to 1.
ALTER TABLE event ADD COLUMN alarm INTEGER NOT NULL DEFAULT 1;
ALTER TABLE event ADD COLUMN severity REAL NOT NULL DEFAULT 0;

-- Each of these answers its questions without the rows, which are large.
DROP INDEX event_incident;
CREATE INDEX event_incident ON event (incident, phase, alarm, severity, onset) WHERE incident IS NOT NULL;
DROP INDEX event_unjudged;
CREATE INDEX event_unjudged ON event (received, revision, judged) WHERE judged = 0;
DROP INDEX event_onset;
CREATE INDEX event_onset ON event (onset, incident, alarm);
