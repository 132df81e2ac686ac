-- Writing into a stream on behalf of the request.
-- uses: fields, channel, post, request

-- A PUSH that all who follow the stream get. `offset`: one that was taken already, nil for the next.
local function post_push(stream, id, body, collapse, offset)
  local at = offset or next_offset()
  return post(stream, channel_of(stream), at, request.ttl, id, ENTRY_MESSAGE, body, request.keep, collapse)
end

-- An entry for the connectors of those who follow the stream.
local function post_control(stream, body)
  local offset = next_offset()
  local id = 'c' .. str(offset)
  post(stream, channel_of(stream), offset, DAY_SECONDS, id, ENTRY_CONTROL, body, request.keep)
end
