-- Sets a field of a HASH if it is what is expected, once per call.
-- KEYS: the HASH, the call's mark.
-- ARGV: seconds to keep the mark, the field, its value then, and the value that is
--       expected; without that the field must not be there.
-- Returns 1 when it was set.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 1
end
-- A field that is not there is `false`.
if redis.call('HGET', KEYS[1], ARGV[2]) ~= (ARGV[4] or false) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('SET', KEYS[2], '', 'EX', ARGV[1])
return 1
