-- Topics that a JWT allowed a device to follow: those with a field DEVICE_BY_JWT<stream>. They end with that
-- right.
-- uses: fields, binding

-- They end, unless they are among `allowed` (nil: none is). Returns whether there were such.
local function stop_topics_of_jwt(record, token, allowed)
  local changed = false
  for _, name in ipairs(redis.call('HKEYS', record)) do
    if string.sub(name, 1, 2) == DEVICE_BY_JWT then
      local stream = string.sub(name, 3)
      if not (allowed and allowed[stream]) then
        changed = stop_following(record, token, stream, DROPPED_UNSUBSCRIBED) or changed
      end
    end
  end
  return changed
end
