-- Adds weights to a hot list under forward decay; see live/hot.rs.
-- KEYS: the ZSET, its decay (HASH), what changed (ZSET), the batch's mark.
-- ARGV: seconds to keep the mark, a name for a new epoch, half-life in seconds,
--       members to keep, members at which to cut, changes to keep,
--       half-lives past the landmark at which it moves, the time of the weights in
--       milliseconds, then each item once and the weight it gets.
-- Returns 0 for a batch that was applied before, else epoch, revision, landmark,
-- half-life, newest time, and item by item the score it has now.
local items, decay, changes, mark = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('EXISTS', mark) == 1 then
  return 0
end
local FIRST, MOST = 9, 1.7976931348623157e308
-- A call takes so many arguments at most.
local STEP = 1000
local half_life_s, latest_ms = tonumber(ARGV[3]), tonumber(ARGV[8])

local known = redis.call('HMGET', decay, 'epoch', 'revision', 'landmark_ms', 'half_life_s', 'newest_ms', 'floor')
local epoch, revision, floor = known[1], tonumber(known[2] or 0) + 1, known[6] or '0'
local landmark_ms, newest_ms = tonumber(known[3] or latest_ms), math.max(tonumber(known[5] or 0), latest_ms)
local old_half_life_s = tonumber(known[4] or half_life_s)

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

local scores, changed = {}, {}
local worth = 2 ^ ((latest_ms - landmark_ms) / (1000 * half_life_s))
for at = FIRST, #ARGV, 2 do
  local item = ARGV[at]
  local score = redis.call('ZINCRBY', items, string.format('%.17g', tonumber(ARGV[at + 1]) * worth), item)
  if math.abs(tonumber(score)) > MOST then
    score = string.format('%.17g', tonumber(score) > 0 and MOST or -MOST)
    redis.call('ZADD', items, score, item)
  end
  scores[#scores + 1] = item
  scores[#scores + 1] = score
  changed[#changed + 1] = revision
  changed[#changed + 1] = item
end
for from = 1, #changed, STEP do
  redis.call('ZADD', changes, unpack(changed, from, math.min(from + STEP - 1, #changed)))
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

landmark_ms, newest_ms = string.format('%.0f', landmark_ms), string.format('%.0f', newest_ms)
redis.call('HSET', decay, 'epoch', epoch, 'revision', revision, 'landmark_ms', landmark_ms,
  'half_life_s', half_life_s, 'newest_ms', newest_ms, 'floor', floor)
redis.call('SET', mark, '', 'EX', ARGV[1])
return {epoch, revision, landmark_ms, half_life_s, newest_ms, scores}
