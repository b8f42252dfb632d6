-- Keeps a document, unless what is kept is newer or was dropped just now.
-- KEYS: the document, its version. ARGV: body, version, seconds to keep it.
-- Versions are numbers of the same length, so they compare as texts.
local version = redis.call('GET', KEYS[2])
if version and (version == '~' or version > ARGV[2]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
return 1
