-- Keep a new API key, unless there is one of its name. Every process is notified.
-- KEYS: clock.
-- ARGV: its name, what is kept of it, how many keys at most.
-- Returns 1; 0 where there is one of that name, -1 where there are as many as there may be.
-- uses: api_keys
local name, stored, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local before = redis.call('HGET', API_KEYS_KEY, name)
if before and not has_ended(before) then return 0 end
if not before and redis.call('HLEN', API_KEYS_KEY) >= most then
  local kept = redis.call('HGETALL', API_KEYS_KEY)
  for i = 1, #kept, 2 do
    if has_ended(kept[i + 1]) then redis.call('HDEL', API_KEYS_KEY, kept[i]) end
  end
  if redis.call('HLEN', API_KEYS_KEY) >= most then return -1 end
end
redis.call('HSET', API_KEYS_KEY, name, stored)
redis.call('PUBLISH', channels .. 'keys', '')
return 1
