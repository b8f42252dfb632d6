-- Changes the runs of one job, if nobody came between.
-- KEYS: the tenant's runs (HASH), its jobs (HASH), its runs by age (ZSET), the job's
--       runs by age (ZSET), the job's checkpoint.
-- ARGV: the job's field, what it is expected to hold and what it shall; a run's id,
--       what it is expected to be and what it shall; 1 when that is the end of it; runs
--       to keep of the job.
-- Returns 1 when it was changed.
local runs, jobs, order, of_job, checkpoint = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local job, id = ARGV[1], ARGV[4]
if (redis.call('HGET', jobs, job) or '') ~= ARGV[2] or (redis.call('HGET', runs, id) or '') ~= ARGV[5] then
  return 0
end
redis.call('HSET', jobs, job, ARGV[3])
redis.call('HSET', runs, id, ARGV[6])
-- Members of one score are in the order of their names, which is that of age.
redis.call('ZADD', order, 0, id)
redis.call('ZADD', of_job, 0, id)
if ARGV[7] == '1' then
  redis.call('DEL', checkpoint)
  local beyond = redis.call('ZCARD', of_job) - tonumber(ARGV[8])
  if beyond > 0 then
    for _, old in ipairs(redis.call('ZRANGE', of_job, 0, beyond - 1)) do
      redis.call('HDEL', runs, old)
      redis.call('ZREM', order, old)
      redis.call('ZREM', of_job, old)
    end
  end
end
return 1
