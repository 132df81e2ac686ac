-- Add entries to a part of the audit trail, and drop what is too old or too much.
-- KEYS: clock.
-- ARGV: the part, entries at most, for how many seconds they are kept, then the entries.
-- Returns 1.
-- uses: audit
local key, most, seconds = audit_key(ARGV[1]), ARGV[2], tonumber(ARGV[3])
for i = 4, #ARGV do
  redis.call('XADD', key, 'MAXLEN', most, '*', 'e', ARGV[i])
end
redis.call('XTRIM', key, 'MINID', str(math.floor(now / 1000) - seconds * 1000))
redis.call('EXPIRE', key, seconds)
return 1
