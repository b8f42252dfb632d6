-- Brings counters to what a pane has so far.
-- KEYS: the HASH of the counters, what was applied of the pane (HASH).
-- ARGV: seconds to keep the latter, then each counter once, its amount, and the amount that
--       is known to have been applied when nothing is remembered.
-- Returns nothing, or what went wrong with a counter: it stays as it was, since trying
-- again would go wrong again.
local counters, memory = KEYS[1], KEYS[2]
local remembers = redis.call('EXISTS', memory) == 1
local wrong = false
for at = 2, #ARGV, 3 do
  local applied = remembers and (redis.call('HGET', memory, ARGV[at]) or '0') or ARGV[at + 2]
  local amount = tonumber(ARGV[at + 1]) - tonumber(applied)
  if amount ~= 0 then
    local reply = redis.pcall('HINCRBYFLOAT', counters, ARGV[at], string.format('%.17g', amount))
    if type(reply) == 'table' and reply.err then
      wrong = counters .. ': ' .. reply.err
    end
  end
  redis.call('HSET', memory, ARGV[at], ARGV[at + 1])
end
redis.call('EXPIRE', memory, ARGV[1])
return wrong
