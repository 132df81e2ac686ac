-- A device is done with its own log up to an offset (as text).
-- uses: log

-- Mostly nothing is after it. The stream stays in the sweeper's queue until its time comes: the next message
-- would put it there again.
local function trim_acknowledged(stream, offset)
  local log, collapse = log_key(stream), collapse_key(stream)
  if #redis.call('XRANGE', log, '(' .. offset, '+', 'COUNT', '1') == 0 then
    redis.call('DEL', log, collapse)
    return
  end
  local done_to = tonumber(offset)
  redis.call('XTRIM', log, 'MINID', offset_text(done_to + 1))
  local kept = redis.call('HGETALL', collapse)
  for i = 1, #kept, 2 do
    if tonumber(kept[i + 1]) <= done_to then redis.call('HDEL', collapse, kept[i]) end
  end
end
