-- A device no longer follows a stream of this server. `record` is the device's record, or the part of it that
-- is here.
-- uses: fields, followers, topic_names, advance_at_end

-- This device will never read its waiting messages, which end as `code` in the ledger ('' where it is not to be
-- looked through). Returns whether it followed.
local function unfollow(record, token, stream, code)
  local kept = redis.call('HMGET', record, DEVICE_CURSOR .. stream, DEVICE_POSITION .. stream)
  redis.call('SREM', followers_key(stream), token)
  list_topic(stream)
  if not kept[1] then return false end
  if code ~= '' then
    advance_at_end(record, stream, token, tonumber(kept[1]), tonumber(kept[2] or '0'), now, code)
  end
  local start, attempts = DEVICE_START .. stream, DEVICE_ATTEMPTS .. stream
  redis.call('HDEL', record, DEVICE_CURSOR .. stream, start, attempts, DEVICE_POSITION .. stream)
  return true
end
