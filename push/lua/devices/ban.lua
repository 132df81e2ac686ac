-- Ban something, or lift a ban. Every process is notified.
-- KEYS: clock.
-- ARGV: what, until when in ms ('0' = until it is lifted, '' = lift), how many bans at most (0 = any number).
-- Returns 1; 0 where there was nothing to lift, -1 where there are as many bans as there may be.
-- uses: bans
local what, until_ms, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local kept = redis.call('HGET', BANS_KEY, what)
if until_ms == '' then
  drop_ban(what)
  if not kept or (kept ~= '0' and tonumber(kept) <= clock_ms()) then return 0 end
  note_lift(what)
else
  if not kept and most > 0 and redis.call('HLEN', BANS_KEY) >= most then return -1 end
  set_ban(what, until_ms)
end
redis.call('PUBLISH', channels .. 'bans', '')
return 1
