-- A page of the bans that were made or changed, and of those that were lifted, since they were read last.
-- KEYS: clock.
-- ARGV: the offset after which bans are wanted; the one after which lifts are ('now' = from now on, '' = none);
-- the time of this server when they were read last; how many of each at most.
-- Returns how many bans there are, up to which offset lifts are told, the time, the bans as {what, offset, ...},
-- until when each holds, and the lifts as {what, offset, ...}; nothing if lifts since then are forgotten.
-- uses: bans
local after, lifts_after, read_at, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- Bans that an earlier version made or lifted have no place in the order of changes, or a wrong one.
if redis.call('HLEN', BANS_KEY) ~= redis.call('ZCARD', BAN_CHANGES_KEY) then
  for _, what in ipairs(redis.call('ZRANGEBYSCORE', BAN_CHANGES_KEY, '-inf', '+inf')) do
    if redis.call('HEXISTS', BANS_KEY, what) == 0 then
      drop_ban(what)
      note_lift(what)
    end
  end
  for _, what in ipairs(redis.call('HKEYS', BANS_KEY)) do
    if not redis.call('ZSCORE', BAN_CHANGES_KEY, what) then
      redis.call('ZADD', BAN_CHANGES_KEY, str(next_offset()), what)
    end
  end
end

local lifts = {}
if lifts_after == 'now' then
  lifts_after = str(next_offset())
elseif lifts_after ~= '' then
  if not knows_lifts_since(tonumber(lifts_after), tonumber(read_at)) then return {} end
  lifts = redis.call(
    'ZRANGEBYSCORE',
    LIFTED_BANS_KEY,
    '(' .. lifts_after,
    '+inf',
    'WITHSCORES',
    'LIMIT',
    '0',
    count
  )
  if #lifts > 0 then lifts_after = lifts[#lifts] end
end

local bans =
  redis.call('ZRANGEBYSCORE', BAN_CHANGES_KEY, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', '0', count)
local names = {}
for i = 1, #bans, 2 do
  names[#names + 1] = bans[i]
end
local ends = #names > 0 and redis.call('HMGET', BANS_KEY, unpack(names)) or {}
return { redis.call('HLEN', BANS_KEY), lifts_after, str(now), bans, ends, lifts }
