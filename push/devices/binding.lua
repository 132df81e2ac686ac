-- Which user a device belongs to: the one place that changes it.
-- Returns false when nothing changed. `user` '' unbinds. Following begins here (rule 4); what waits in
-- the stream of the user before will never be read by this device.
local function bind(record, token, user, clock)
  local before = redis.call('HGET', record, 'u') or ''
  if before == user then return false end
  if before ~= '' then
    local stream = 'user:' .. before
    local kept = redis.call('HMGET', record, 'c:' .. stream, 'p:' .. stream)
    if kept[1] then
      pass(stream, token, tonumber(kept[1]), tonumber(kept[2] or '0'), now, 'd:unbound')
    end
    redis.call('SREM', prefix .. 'user-devices:' .. before, token)
    redis.call('HDEL', record, 'u', 'c:' .. stream, 'f:' .. stream, 't:' .. stream, 'p:' .. stream)
  end
  if user ~= '' then
    local begin = str(clock)
    redis.call('SADD', prefix .. 'user-devices:' .. user, token)
    redis.call('HSET', record, 'u', user, 'c:user:' .. user, begin, 'f:user:' .. user, begin)
  end
  return true
end
