-- Adds to a field of a HASH, once per call.
-- KEYS: the HASH, the call's mark. ARGV: seconds to keep the mark, the field, how much.
-- Returns what the field is then, as a text: a number of Lua is not exact. Or what
-- went wrong with it: it stays as it was.
local sum = redis.call('GET', KEYS[2])
if sum then
  return sum
end
local reply = redis.pcall('HINCRBY', KEYS[1], ARGV[2], ARGV[3])
if type(reply) == 'table' and reply.err then
  return reply.err
end
sum = redis.call('HGET', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], sum, 'EX', ARGV[1])
return sum
