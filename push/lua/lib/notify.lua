-- Notifying the session of a device that the record of the device has changed.
-- uses: fields, append, channel

-- Streams that this call has ended following.
local ended = {}

-- By an entry of the device's own log, so that no change is missed however the connection fares (rule 5). It
-- names what ended: nothing that is published later is handed out. Returns its offset; 0 where no session is.
local function notify_device(record, token)
  local kept = redis.call('HMGET', record, DEVICE_SESSION, DEVICE_USER)
  if not kept[1] then return 0 end
  local offset, stream = offset_text(next_offset()), 'dev:' .. token
  local change = { op = 'changed', user = kept[2] or '', ended = table.concat(ended, ' ') }
  local id, content = 'c' .. offset, cjson.encode(change)
  local previous = append(stream, offset, DAY_SECONDS, id, ENTRY_CONTROL, content)
  announce(stream, previous, offset, DAY_SECONDS, id, ENTRY_CONTROL, content, '0')
  return offset
end
