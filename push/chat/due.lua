-- Claim members of a sorted set whose time has come: nobody else claims them for a minute. Request: key,
-- pause_ms that they may wait before, limit.
local key, now_ms = prefix .. request.key, math.floor(now / 1000)
local due = redis.call('ZRANGEBYSCORE', key, '-inf', str(now_ms - request.pause_ms), 'LIMIT', 0,
  request.limit)
for _, member in ipairs(due) do redis.call('ZADD', key, str(now_ms + 60000), member) end
return {'ok', {}, due}
