-- Writing into a stream on behalf of the request.
-- uses: fields, post, request

-- A PUSH that all who follow the stream get. `offset`: one that was taken already, nil for the next.
local function post_push(stream, id, content, collapse, offset)
  local at = offset_text(offset or next_offset())
  return post(stream, at, request.ttl, id, ENTRY_MESSAGE, content, request.keep, collapse)
end

-- An entry for the connectors of those who follow the stream.
local function post_control(stream, content)
  local offset = offset_text(next_offset())
  post(stream, offset, DAY_SECONDS, 'c' .. offset, ENTRY_CONTROL, content, request.keep)
end
