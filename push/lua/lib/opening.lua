-- Where a session begins to read in the streams of this server.
-- uses: fields, log, trim, advance

-- The client's cursors, from `cursors[first]` on as stream, offset. One that is ahead acknowledges up to there,
-- but not past what there is. Returns fields DEVICE_REREAD<stream> for those that are behind: reading begins
-- there.
local function apply_client_cursors(record, token, cursors, first)
  local rereads, clock = {}, stored_clock()
  for i = first, #cursors, 2 do
    local stream, offset = cursors[i], tonumber(cursors[i + 1])
    local cursor_field, position_field = DEVICE_CURSOR .. stream, DEVICE_POSITION .. stream
    local kept = redis.call('HMGET', record, cursor_field, DEVICE_START .. stream, position_field)
    local cursor, start = tonumber(kept[1] or ''), tonumber(kept[2] or '')
    if cursor and offset > cursor then
      local to = math.min(offset, math.max(clock, cursor))
      local position = math.max(cursor, tonumber(kept[3] or '0'))
      advance_past(stream, token, cursor, position, to, ACKNOWLEDGED)
      redis.call('HSET', record, cursor_field, str(to))
      if stream == 'dev:' .. token then trim_acknowledged(stream, str(to)) end
    elseif cursor and offset < cursor then
      rereads[#rereads + 1] = DEVICE_REREAD .. stream
      rereads[#rereads + 1] = str(math.max(offset, start or 0))
    end
  end
  return rereads
end

-- Add to `fields` what a record says of the streams that are followed, of whose it is, and of its session.
-- Returns the streams of which something was dropped that the device had not read.
local function add_followed(record, fields)
  local truncated, all = {}, redis.call('HGETALL', record)
  for i = 1, #all, 2 do
    local name, value = all[i], all[i + 1]
    local kind = string.sub(name, 1, 2)
    if kind == DEVICE_CURSOR then
      local stream = string.sub(name, 3)
      local lost = redis.call('GET', lost_key(stream))
      if lost and tonumber(lost) > tonumber(value) then truncated[#truncated + 1] = stream end
    end
    local of_stream = string.sub(kind, 2) == ':'
    if of_stream or name == DEVICE_USER or name == DEVICE_SESSION or name == DEVICE_EPOCH then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  return truncated
end
