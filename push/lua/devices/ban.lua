-- Ban something, or lift a ban. Every connector hears that there is something new.
-- KEYS: clock.
-- ARGV: what, until when in ms ('0' = until it is lifted, '' = lift).
-- Returns 1, or 0 where there was nothing to lift.
-- uses: bans
local what, until_ms = ARGV[1], ARGV[2]
local kept = redis.call('HGET', BANS_KEY, what)
if kept and kept ~= '0' and tonumber(kept) <= math.floor(now / 1000) then kept = false end
if until_ms == '' then
  redis.call('HDEL', BANS_KEY, what)
  if not kept then return 0 end
else
  redis.call('HSET', BANS_KEY, what, until_ms)
end
redis.call('PUBLISH', channels .. 'bans', '')
return 1
