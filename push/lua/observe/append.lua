-- Add entries to journals. Of an owner the oldest over its bound are dropped, of a device also what is too
-- old; over the bound of all, the owners that have had nothing for longest, and those whose last is too old.
-- KEYS: clock.
-- ARGV: the kind of journal, entries of an owner at most, entries in all at most, for how many seconds they
-- are kept, '1' if each owner must be a device ('' otherwise); then per entry: owner, when (ms), the entry.
-- Returns how many entries there are now.
-- uses: journals, devices
local DROPS_A_CALL = 1000
-- How much longer than its entries a key may stay: every hour some daemon drops what is too old.
local SPARE_SECONDS = 86400

local kind, most_each, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local oldest, of_devices = clock_ms() - tonumber(ARGV[4]) * 1000, ARGV[5] ~= ''
local seconds = str(tonumber(ARGV[4]) + SPARE_SECONDS)
local owners, total = journal_owners_key(kind), journal_total(kind)

local rows_of, in_order, latest = {}, {}, {}
for i = 6, #ARGV, 3 do
  local owner = ARGV[i]
  local rows = rows_of[owner]
  if not rows then
    rows = {}
    rows_of[owner], in_order[#in_order + 1] = rows, owner
  end
  rows[#rows + 1], rows[#rows + 2] = ARGV[i + 1], ARGV[i + 2]
end
for _, owner in ipairs(in_order) do
  if not of_devices or redis.call('EXISTS', device_key(owner)) == 1 then
    local key, rows = journal_key(kind, owner), rows_of[owner]
    total = total + redis.call('ZADD', key, unpack(rows))
    if of_devices then total = total - redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. str(oldest)) end
    total = total - redis.call('ZREMRANGEBYRANK', key, '0', str(-1 - most_each))
    redis.call('EXPIRE', key, seconds)
    for i = 1, #rows, 2 do
      latest[#latest + 1], latest[#latest + 2] = rows[i], owner
    end
  end
end
if #latest > 0 then redis.call('ZADD', owners, 'GT', unpack(latest)) end

for _ = 1, DROPS_A_CALL do
  local first = redis.call('ZRANGE', owners, '0', '0', 'WITHSCORES')
  if not first[1] or (total <= most and tonumber(first[2]) >= oldest) then break end
  total = total - drop_journal(kind, first[1])
end
redis.call('EXPIRE', owners, seconds)
store_journal_total(kind, total)
return total
