-- Keeps the checkpoint of a job, if its run is still the one that is expected.
-- KEYS: the tenant's jobs (HASH), the job's checkpoint.
-- ARGV: the job's field, what it is expected to hold, the checkpoint.
-- Returns 1 when it was kept.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[3])
return 1
