-- Values of a HASH, or how many bytes they are together when those are too many.
-- KEYS: the HASH. ARGV: how many bytes are not too many, the fields.
local bytes = 0
for at = 2, #ARGV do
  bytes = bytes + redis.call('HSTRLEN', KEYS[1], ARGV[at])
end
if bytes > tonumber(ARGV[1]) then
  return bytes
end
return redis.call('HMGET', KEYS[1], unpack(ARGV, 2))
