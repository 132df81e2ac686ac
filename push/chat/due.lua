-- Claim members of a sorted set whose time has come: nobody else claims them for some seconds, a little
-- longer than a call may take. Who has them may be killed, or cannot give them back because this server
-- was. Request: key, pause_ms that they may wait before, limit.
local CLAIMED_MS = 10000
local key, now_ms = prefix .. request.key, math.floor(now / 1000)
local due = redis.call('ZRANGEBYSCORE', key, '-inf', str(now_ms - request.pause_ms), 'LIMIT', 0,
  request.limit)
for _, member in ipairs(due) do redis.call('ZADD', key, str(now_ms + CLAIMED_MS), member) end
return {'ok', {}, due}
