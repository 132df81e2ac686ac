-- A device is done with its own log up to an offset.
-- uses: log

-- Mostly nothing is after it.
local function trim_acknowledged(stream, offset)
  local log, after = log_key(stream), str(offset + 1)
  if #redis.call('XRANGE', log, after, '+', 'COUNT', '1') == 0 then return delete_log(stream) end
  redis.call('XTRIM', log, 'MINID', after)
  local collapse = collapse_key(stream)
  local kept = redis.call('HGETALL', collapse)
  for i = 1, #kept, 2 do
    if tonumber(kept[i + 1]) <= offset then redis.call('HDEL', collapse, kept[i]) end
  end
end
