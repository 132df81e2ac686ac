-- Claim errands that wait for longer than they should: nobody else claims them for some seconds, a
-- little longer than a call may take. Who has them may be killed.
-- ARGV: how many. Returns their texts.
local key, now_ms = prefix .. 'errands', math.floor(now / 1000)
local due = redis.call('ZRANGEBYSCORE', key, '-inf', str(now_ms - 1000), 'LIMIT', 0, ARGV[1])
for _, text in ipairs(due) do redis.call('ZADD', key, str(now_ms + 10000), text) end
return due
