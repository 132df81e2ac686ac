-- What is too old to be replayed, read or delivered goes, a part at a time.
-- KEYS: clock.
-- ARGV: for how long what is over is kept (us), for how long an event may wait (us), then the endpoints.
-- Returns 1 if there is more.
-- uses: webhook_keys, webhook_end
local oldest = str(now - tonumber(ARGV[1]))
local more = 0
for i = 3, #ARGV do
  redis.call('XTRIM', webhook_attempts_key(ARGV[i]), 'MINID', oldest)
  redis.call('ZREMRANGEBYSCORE', webhook_failed_key(ARGV[i]), '-inf', oldest)
  if lose_aged(ARGV[i], tonumber(ARGV[2]), 100) == 100 then more = 1 end
end
return trim_log(oldest, 200) == 200 and 1 or more
