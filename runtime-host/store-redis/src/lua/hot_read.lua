-- What changed in a hot list since a reader last read it, or all of it.
-- KEYS: the ZSET, its decay (HASH), what changed (ZSET).
-- ARGV: the reader's epoch and revision.
-- Returns nothing when there is no list, else epoch, revision, landmark,
-- half-life, newest time, 1 when what follows is all, and members with scores; a
-- member without a score is none any more.
local items, decay, changes = KEYS[1], KEYS[2], KEYS[3]
local known = redis.call('HMGET', decay, 'epoch', 'revision', 'landmark_ms', 'half_life_s', 'newest_ms', 'floor')
if not known[1] then
  return {}
end
local all, members = 1, nil
if known[1] == ARGV[1] and tonumber(ARGV[2]) >= tonumber(known[6]) then
  all, members = 0, {}
  for _, item in ipairs(redis.call('ZRANGEBYSCORE', changes, '(' .. ARGV[2], '+inf')) do
    members[#members + 1] = item
    members[#members + 1] = redis.call('ZSCORE', items, item) or ''
  end
else
  members = redis.call('ZRANGE', items, 0, -1, 'WITHSCORES')
end
return {known[1], known[2], known[3], known[4], known[5], all, members}
