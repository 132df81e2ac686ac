-- Bans that have ended are forgotten. ARGV: what, until when in ms, ...: as they were read. What was banned
-- anew meanwhile stays.
local key, now_ms = prefix .. 'bans', now / 1000
for i = 1, #ARGV, 2 do
  if tonumber(ARGV[i + 1]) <= now_ms and redis.call('HGET', key, ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', key, ARGV[i])
  end
end
return 1
