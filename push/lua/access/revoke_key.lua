-- Revoke an API key that was made, but not the last one that may administer. Every process is notified.
-- KEYS: clock.
-- ARGV: its name, whether the caller has another key that may administer ('1').
-- Returns 1; 0 where there is no such key, -1 where it is the last one.
-- uses: api_keys
local name, has_other = ARGV[1], ARGV[2] == '1'
local kept = redis.call('HGETALL', API_KEYS_KEY)
local revoked
for i = 1, #kept, 2 do
  local stored = kept[i + 1]
  if not has_ended(stored) then
    if kept[i] == name then
      revoked = stored
    elseif may_administer(stored) then
      has_other = true
    end
  end
end
if not revoked then return 0 end
if may_administer(revoked) and not has_other then return -1 end
redis.call('HDEL', API_KEYS_KEY, name)
redis.call('PUBLISH', channels .. 'keys', '')
return 1
