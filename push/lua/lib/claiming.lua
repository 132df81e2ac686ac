-- Claiming work: members of a sorted set by when they are due, in ms.

-- At most `limit` of those that were due up to `before_ms`; nobody else claims them until `until_ms`: who
-- has them may be killed.
local function claim_due(key, before_ms, until_ms, limit)
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', str(before_ms), 'LIMIT', 0, limit)
  for _, member in ipairs(due) do redis.call('ZADD', key, str(until_ms), member) end
  return due
end
