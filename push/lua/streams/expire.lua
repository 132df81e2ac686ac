-- Remove expired entries of a log, a part at a time.
-- KEYS: clock.
-- ARGV: stream, after, the earliest expiry in ms found in the parts before (0 = none), entries in them,
-- max_age_us.
-- Returns {place to go on from ('' at the end), earliest expiry, entries so far}.
-- uses: fields, entry, log, remove_entry
local stream, after, earliest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local seen, oldest = tonumber(ARGV[4]), now - tonumber(ARGV[5])
local part, now_ms = 200, clock_ms()
local shared = string.sub(stream, 1, 4) ~= 'dev:'

local page = redis.call('XRANGE', log_key(stream), str(after + 1), '+', 'COUNT', part)
for _, entry in ipairs(page) do
  local offset, _, expires_ms = read_entry(entry)
  after = tonumber(offset)
  if expires_ms <= now_ms then
    remove_entry(stream, entry, EXPIRED)
  elseif shared and after < oldest then
    remove_entry(stream, entry, DROPPED_RETENTION)
  elseif earliest == 0 or expires_ms < earliest then
    earliest = expires_ms
  end
end
seen = seen + #page
if #page == part then return { str(after), str(earliest), seen } end

-- To look through a long log takes time: the next look comes later, the longer it is. What has
-- expired is delivered to nobody meanwhile. Age is looked at once a day.
if not delete_if_empty(stream) then
  local next_ms = math.min(math.max(earliest, now_ms + seen), now_ms + DAY_SECONDS * 1000)
  redis.call('ZADD', EXPIRY_KEY, str(next_ms), stream)
end
return { '', str(earliest), seen }
