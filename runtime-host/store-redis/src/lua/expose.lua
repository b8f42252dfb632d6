-- Remembers items that a user was shown.
-- KEYS: the SET, its times of expiry (ZSET).
-- ARGV: now and the time of expiry in milliseconds, items to keep, the items.
local shown, expiry = KEYS[1], KEYS[2]
local now_ms, expires_ms, FIRST = ARGV[1], ARGV[2], 4
-- A call takes so many arguments at most.
local STEP = 1000
local function remove(items)
  for from = 1, #items, STEP do
    redis.call('SREM', shown, unpack(items, from, math.min(from + STEP - 1, #items)))
  end
end

if redis.call('EXISTS', shown) == 0 then
  -- Whoever deletes the SET has it forgotten.
  redis.call('DEL', expiry)
else
  remove(redis.call('ZRANGEBYSCORE', expiry, '-inf', now_ms))
  redis.call('ZREMRANGEBYSCORE', expiry, '-inf', now_ms)
end

for from = FIRST, #ARGV, STEP do
  local to = math.min(from + STEP - 1, #ARGV)
  redis.call('SADD', shown, unpack(ARGV, from, to))
  local pairs = {}
  for at = from, to do
    pairs[#pairs + 1] = expires_ms
    pairs[#pairs + 1] = ARGV[at]
  end
  redis.call('ZADD', expiry, unpack(pairs))
end

local beyond = redis.call('ZCARD', expiry) - tonumber(ARGV[3])
if beyond > 0 then
  local oldest = redis.call('ZPOPMIN', expiry, beyond)
  local items = {}
  for at = 1, #oldest, 2 do
    items[#items + 1] = oldest[at]
  end
  remove(items)
end

local last = redis.call('ZREVRANGE', expiry, 0, 0, 'WITHSCORES')
local ttl_ms = string.format('%.0f', math.max(1, tonumber(last[2]) - tonumber(now_ms)))
redis.call('PEXPIRE', shown, ttl_ms)
redis.call('PEXPIRE', expiry, ttl_ms)
return redis.status_reply('OK')
