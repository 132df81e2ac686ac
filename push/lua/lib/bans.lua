-- Bans: what is banned, until when in ms ('0' = until it is lifted).
local BANS_KEY = prefix .. 'bans'

-- The same bans, each by the offset at which it was made or changed last.
local BAN_CHANGES_KEY = prefix .. 'ban-changes'

-- Bans that were lifted, each by the offset at which that was, for a day. Of more than MAX_LIFTS the oldest
-- are forgotten, and the last offset of those is kept: a process that has not read up to there reads all bans.
local LIFTED_BANS_KEY = prefix .. 'lifted-bans'
local FORGOTTEN_LIFTS_KEY = prefix .. 'forgotten-lifts'
local MAX_LIFTS = 10000

-- Kicks that not every connector has confirmed, by when they were kept: the order as JSON.
local KICKS_KEY = prefix .. 'kicks'

local function set_ban(what, until_ms)
  redis.call('HSET', BANS_KEY, what, until_ms)
  redis.call('ZADD', BAN_CHANGES_KEY, str(next_offset()), what)
  redis.call('ZREM', LIFTED_BANS_KEY, what)
end

-- It is stored no longer. That is all for a ban that has ended; of one that is lifted all processes are notified.
local function drop_ban(what)
  redis.call('HDEL', BANS_KEY, what)
  redis.call('ZREM', BAN_CHANGES_KEY, what)
end

local function note_lift(what)
  redis.call('ZADD', LIFTED_BANS_KEY, str(next_offset()), what)
  redis.call('EXPIRE', LIFTED_BANS_KEY, str(DAY_SECONDS))
  local excess = redis.call('ZCARD', LIFTED_BANS_KEY) - MAX_LIFTS
  if excess <= 0 then return end
  local oldest =
    redis.call('ZRANGEBYSCORE', LIFTED_BANS_KEY, '-inf', '+inf', 'WITHSCORES', 'LIMIT', '0', str(excess))
  redis.call('ZREMRANGEBYRANK', LIFTED_BANS_KEY, '0', str(excess - 1))
  redis.call('SET', FORGOTTEN_LIFTS_KEY, oldest[#oldest], 'EX', str(DAY_SECONDS))
end

-- Whether all lifts are known since `offset`, at which they were read; that was at `time`.
local function knows_lifts_since(offset, time)
  local forgotten = redis.call('GET', FORGOTTEN_LIFTS_KEY)
  return now - time < DAY_SECONDS * 1000000 and tonumber(forgotten or '0') <= offset
end
