-- What an event says of its item and its user; none for those that were there before,
-- whose effects were applied when they came.
ALTER TABLE events ADD COLUMN signal BLOB;
