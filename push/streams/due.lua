-- Claim streams in which something has expired: nobody else claims them for a minute.
-- ARGV: how many. Returns their names.
local expiry = prefix .. 'expiry'
local now_ms = math.floor(now / 1000)
local due = redis.call('ZRANGEBYSCORE', expiry, '-inf', str(now_ms), 'LIMIT', 0, ARGV[1])
for _, stream in ipairs(due) do
  redis.call('ZADD', expiry, str(now_ms + 60000), stream)
end
return due
