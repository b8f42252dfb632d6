-- Adds to counters of items, once per batch.
-- KEYS: the batch's mark, then one HASH per item.
-- ARGV: seconds to keep the mark, then for each item: how many fields, and field
--       and amount of each.
-- Returns nothing, or what went wrong with a counter: it stays as it was, since
-- trying again would go wrong again.
local mark = KEYS[1]
if redis.call('EXISTS', mark) == 1 then
  return false
end
local wrong, at = false, 2
for item = 2, #KEYS do
  local fields = tonumber(ARGV[at])
  for field = at + 1, at + 2 * fields, 2 do
    local reply = redis.pcall('HINCRBYFLOAT', KEYS[item], ARGV[field], ARGV[field + 1])
    if type(reply) == 'table' and reply.err then
      wrong = KEYS[item] .. ': ' .. reply.err
    end
  end
  at = at + 1 + 2 * fields
end
redis.call('SET', mark, '', 'EX', ARGV[1])
return wrong
