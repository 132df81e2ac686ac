-- What is too old to be replayed or read goes, a part at a time.
-- KEYS: clock.
-- ARGV: max_age_us, then the endpoints.
-- Returns 1 if there is more.
-- uses: webhook_keys, webhook_end
local oldest = str(now - tonumber(ARGV[1]))
for i = 2, #ARGV do
  redis.call('XTRIM', webhook_attempts_key(ARGV[i]), 'MINID', oldest)
  redis.call('ZREMRANGEBYSCORE', webhook_failed_key(ARGV[i]), '-inf', oldest)
end
return trim_log(oldest, 200) == 200 and 1 or 0
