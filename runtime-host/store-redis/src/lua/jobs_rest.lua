-- Takes a tenant from those that may have runs at work, unless one was begun since.
-- KEYS: the tenants (ZSET). ARGV: the tenant, the time at which it was begun last.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
return redis.call('ZREM', KEYS[1], ARGV[1])
