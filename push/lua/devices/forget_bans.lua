-- Bans that have ended are forgotten. A ban that was made again meanwhile stays.
-- KEYS: clock.
-- ARGV: what, until when in ms, ...: as they were read.
-- Returns 1.
-- uses: bans
for i = 1, #ARGV, 2 do
  local what, until_ms = ARGV[i], ARGV[i + 1]
  if tonumber(until_ms) <= now / 1000 and redis.call('HGET', BANS_KEY, what) == until_ms then
    drop_ban(what)
  end
end
return 1
