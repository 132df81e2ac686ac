-- A device is done with its own log up to an offset.
-- uses: log

-- Mostly nothing is after it. The stream stays in the sweeper's queue until its time comes: the next message
-- would put it there again.
local function trim_acknowledged(stream, offset)
  local log, collapse, after = log_key(stream), collapse_key(stream), offset_text(offset + 1)
  if #redis.call('XRANGE', log, after, '+', 'COUNT', '1') == 0 then
    redis.call('DEL', log, collapse)
    return
  end
  redis.call('XTRIM', log, 'MINID', after)
  local kept = redis.call('HGETALL', collapse)
  for i = 1, #kept, 2 do
    if tonumber(kept[i + 1]) <= offset then redis.call('HDEL', collapse, kept[i]) end
  end
end
