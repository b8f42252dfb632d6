-- The newest batch of places served that item_stats has.
CREATE TABLE served (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  batch INTEGER NOT NULL
);
INSERT INTO served VALUES (1, 0);
