-- Ban something, or lift a ban. ARGV: what, until when in ms ('0' = until it is lifted, '' = lift).
-- Every connector hears that there is something new. Returns 1, or 0 where there was nothing to lift.
local key, now_ms = prefix .. 'bans', math.floor(now / 1000)
local kept = redis.call('HGET', key, ARGV[1])
if kept and kept ~= '0' and tonumber(kept) <= now_ms then kept = false end
if ARGV[2] == '' then
  redis.call('HDEL', key, ARGV[1])
  if not kept then return 0 end
else
  redis.call('HSET', key, ARGV[1], ARGV[2])
end
redis.call('PUBLISH', channels .. 'bans', '')
return 1
