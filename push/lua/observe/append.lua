-- Add entries to journals. Of an owner the oldest over its bound are dropped, of a device also what is too
-- old; over the bound of all, the owners that have had nothing for longest, and those whose last is too old.
-- KEYS: clock.
-- ARGV: the kind of journal, entries of an owner at most, entries in all at most, for how many seconds they
-- are kept, '1' if each owner must be a device ('' otherwise); then of each owner its name, how many values
-- follow, and these: when (ms), the entry, when, the entry, ..., the last one last.
-- Returns how many entries there are now.
-- uses: journals, devices
local DROPS_A_CALL = 1000
-- How much longer than its entries a key may stay: every hour some daemon drops what is too old.
local SPARE_SECONDS = 86400

local kind, most_each, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local oldest, of_devices = clock_ms() - tonumber(ARGV[4]) * 1000, ARGV[5] ~= ''
local seconds, lowest = str(tonumber(ARGV[4]) + SPARE_SECONDS), str(-1 - most_each)
local owners, total = journal_owners_key(kind), journal_total(kind)

local latest = {}
local first = 6
while first <= #ARGV do
  local owner, last = ARGV[first], first + 1 + ARGV[first + 1]
  if not of_devices or redis.call('EXISTS', device_key(owner)) == 1 then
    local key = journal_key(kind, owner)
    total = total + redis.call('ZADD', key, unpack(ARGV, first + 2, last))
    if of_devices then total = total - redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. str(oldest)) end
    total = total - redis.call('ZREMRANGEBYRANK', key, '0', lowest)
    redis.call('EXPIRE', key, seconds)
    latest[#latest + 1], latest[#latest + 2] = ARGV[last - 1], owner
  end
  first = last + 1
end
if #latest > 0 then redis.call('ZADD', owners, 'GT', unpack(latest)) end

for _ = 1, DROPS_A_CALL do
  local oldest_owner = redis.call('ZRANGE', owners, '0', '0', 'WITHSCORES')
  if not oldest_owner[1] or (total <= most and tonumber(oldest_owner[2]) >= oldest) then break end
  total = total - drop_journal(kind, oldest_owner[1])
end
redis.call('EXPIRE', owners, seconds)
store_journal_total(kind, total)
return total
