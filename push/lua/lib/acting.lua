-- What the scripts of chat begin with. ARGV[1]: the request as msgpack (see chat/actions.py).
-- They answer {'ok', {errand, ...}, ...} or {'no', code, detail, field}.
local request = cmsgpack.unpack(ARGV[1])
local DAY_SECONDS = 86400

local function refuse(code, detail, field)
  return {'no', code, detail, field or ''}
end

local function channel_of(stream)
  return channels .. 'live:' .. stream
end

-- A PUSH that all who follow the stream get. `offset`: one that was taken already, nil for the next.
local function post_push(stream, id, body, collapse, offset)
  return post(stream, channel_of(stream), offset or next_offset(), request.ttl, id, 'm', body,
    request.keep, collapse)
end

-- An entry for the connectors of those who follow the stream.
local function post_control(stream, body)
  local offset = next_offset()
  post(stream, channel_of(stream), offset, DAY_SECONDS, 'c' .. str(offset), 'c', body, request.keep)
end
