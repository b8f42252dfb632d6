-- Fields of a HASH: all when they are few, else a page of them.
-- KEYS: the HASH. ARGV: how many are few, the cursor, which is empty at first.
-- Returns the next cursor, 0 after the last page, and the fields; nothing when they
-- are many and the server lists fields with their values only.
if ARGV[2] == '' and redis.call('HLEN', KEYS[1]) <= tonumber(ARGV[1]) then
  return {'0', redis.call('HKEYS', KEYS[1])}
end
local cursor = ARGV[2] == '' and '0' or ARGV[2]
local page = redis.pcall('HSCAN', KEYS[1], cursor, 'COUNT', ARGV[1], 'NOVALUES')
if page.err then
  return {}
end
return page
