-- A device is done with its own log up to an offset.
-- uses: log

local function trim_acknowledged(stream, offset)
  redis.call('XTRIM', log_key(stream), 'MINID', str(offset + 1))
  if delete_if_empty(stream) then return end
  local collapse = collapse_key(stream)
  local kept = redis.call('HGETALL', collapse)
  for i = 1, #kept, 2 do
    if tonumber(kept[i + 1]) <= offset then redis.call('HDEL', collapse, kept[i]) end
  end
end
