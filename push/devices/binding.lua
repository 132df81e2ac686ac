-- Which user a device belongs to: the one place that changes it.
-- Returns false when nothing changed. `user` '' unbinds. Following begins here (rule 4).
local function bind(record, token, user, users_prefix, clock)
  local before = redis.call('HGET', record, 'u') or ''
  if before == user then return false end
  if before ~= '' then
    redis.call('SREM', users_prefix .. before, token)
    redis.call('HDEL', record, 'u', 'c:user:' .. before, 'f:user:' .. before, 't:user:' .. before)
  end
  if user ~= '' then
    local begin = str(clock)
    redis.call('SADD', users_prefix .. user, token)
    redis.call('HSET', record, 'u', user, 'c:user:' .. user, begin, 'f:user:' .. user, begin)
  end
  return true
end
