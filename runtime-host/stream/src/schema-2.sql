-- The operator without a name is all that have no row of their own. What was in a log
-- before operators changed hot lists, counters and profiles has changed them already.
INSERT OR IGNORE INTO stream_progress SELECT '', last + 1, 0, 0, NULL, NULL FROM log_ends WHERE last > 0;
