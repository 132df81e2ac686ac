-- Add entries to a part of the audit trail, once, and drop what is too old or too much.
-- KEYS: clock.
-- ARGV: the part, entries at most, for how many seconds they are kept, a mark of these entries, when they were
-- first sent (ms; '' when that is now), then the entries.
-- Returns 1; or 0 when entries with this mark are there already: their writer had no answer.
-- uses: audit
local SPARE_MS = 60000 -- the clock of a replica that has become the master may be behind

local key, most, seconds, mark = audit_key(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
if ARGV[5] ~= '' then
  local since = math.max(0, tonumber(ARGV[5]) - SPARE_MS)
  for _, row in ipairs(redis.call('XRANGE', key, str(since), '+')) do
    local fields = row[2]
    if fields[4] == mark then return 0 end
  end
end
for i = 6, #ARGV do
  redis.call('XADD', key, 'MAXLEN', most, '*', 'e', ARGV[i], 'b', mark)
end
redis.call('XTRIM', key, 'MINID', str(clock_ms() - seconds * 1000))
redis.call('EXPIRE', key, seconds)
return 1
