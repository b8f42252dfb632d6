-- The fields of a HASH, or how many there are when they are too many.
-- KEYS: the HASH. ARGV: how many are not too many.
local fields = redis.call('HLEN', KEYS[1])
if fields > tonumber(ARGV[1]) then
  return fields
end
return redis.call('HKEYS', KEYS[1])
