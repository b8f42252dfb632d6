-- Brings a hot list to what a pane has so far; as runtime-host/store-redis/src/lua/hot_add.lua
-- does with what a batch adds.
-- KEYS: the ZSET, its decay (HASH), what changed (ZSET), what was applied of the pane (HASH).
-- ARGV: seconds to keep the latter, a name for a new epoch, half-life in seconds,
--       members to keep, members at which to cut, changes to keep,
--       half-lives past the landmark at which it moves, the time of the last event and the
--       end of the pane in milliseconds, then each item once, its weight as of that end,
--       and the weight that is known to have been applied when nothing is remembered.
-- Returns how many items changed.
local items, decay, changes, memory = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local FIRST, MOST = 10, 1.7976931348623157e308
local half_life_s, latest_ms, end_ms = tonumber(ARGV[3]), tonumber(ARGV[8]), tonumber(ARGV[9])

local remembers = redis.call('EXISTS', memory) == 1
local add = {}
for at = FIRST, #ARGV, 3 do
  local name = ARGV[3] .. ':' .. ARGV[at]
  local applied = remembers and (redis.call('HGET', memory, name) or '0') or ARGV[at + 2]
  local amount = tonumber(ARGV[at + 1]) - tonumber(applied)
  if amount ~= 0 then
    add[#add + 1] = {ARGV[at], amount}
  end
  redis.call('HSET', memory, name, ARGV[at + 1])
end
redis.call('EXPIRE', memory, ARGV[1])
if #add == 0 then
  return 0
end

local known = redis.call('HMGET', decay, 'epoch', 'revision', 'landmark_ms', 'half_life_s', 'newest_ms', 'floor')
local epoch, revision, floor = known[1], tonumber(known[2] or 0) + 1, known[6] or '0'
local landmark_ms, newest_ms = tonumber(known[3] or latest_ms), math.max(tonumber(known[5] or 0), latest_ms)
local old_half_life_s = tonumber(known[4] or half_life_s)
-- The newest decides: changing it costs every member.
if latest_ms < newest_ms then
  half_life_s = old_half_life_s
end

-- Readers that have an older epoch read the whole list.
local function new_epoch()
  epoch, floor = ARGV[2], tostring(revision)
  redis.call('DEL', changes)
end

if not epoch then
  new_epoch()
elseif old_half_life_s ~= half_life_s
  or (latest_ms - landmark_ms) / (1000 * old_half_life_s) > tonumber(ARGV[7]) then
  local shrink = 2 ^ ((landmark_ms - newest_ms) / (1000 * old_half_life_s))
  redis.call('ZUNIONSTORE', items, 1, items, 'WEIGHTS', string.format('%.17g', shrink))
  landmark_ms = newest_ms
  new_epoch()
end

local worth = 2 ^ ((end_ms - landmark_ms) / (1000 * half_life_s))
for _, one in ipairs(add) do
  local item, amount = one[1], math.max(-MOST, math.min(MOST, one[2] * worth))
  local score = redis.call('ZINCRBY', items, string.format('%.17g', amount), item)
  if math.abs(tonumber(score)) > MOST then
    redis.call('ZADD', items, string.format('%.17g', tonumber(score) > 0 and MOST or -MOST), item)
  end
  redis.call('ZADD', changes, revision, item)
end

local members = redis.call('ZCARD', items)
if members > tonumber(ARGV[5]) then
  redis.call('ZREMRANGEBYRANK', items, 0, members - tonumber(ARGV[4]) - 1)
  new_epoch()
else
  local beyond = redis.call('ZCARD', changes) - tonumber(ARGV[6])
  if beyond > 0 then
    local gone = redis.call('ZPOPMIN', changes, beyond)
    floor = gone[#gone]
  end
end

redis.call('HSET', decay, 'epoch', epoch, 'revision', revision,
  'landmark_ms', string.format('%.0f', landmark_ms), 'half_life_s', half_life_s,
  'newest_ms', string.format('%.0f', newest_ms), 'floor', floor)
return #add
