-- Deletes everything of one job.
-- KEYS: the tenant's runs (HASH), its jobs (HASH), its runs by age (ZSET), the job's
--       runs by age (ZSET), the job's checkpoint.
-- ARGV: the job's field.
for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[3], id)
end
redis.call('DEL', KEYS[4], KEYS[5])
return redis.call('HDEL', KEYS[2], ARGV[1])
