-- Bind a device to a user, or unbind it.
-- ARGV: token, user ('' = unbind), user it must be bound to now ('' = any), channel of the device's
-- stream, id.
-- Returns -1: no such device; 0: nothing to change; 1: changed. A device with a session is told by
-- an entry of its own log, so that no change is missed however the connection fares (rule 5).
local token, user = ARGV[1], ARGV[2]
local record = prefix .. 'device:' .. token
if redis.call('EXISTS', record) == 0 then return -1 end
if ARGV[3] ~= '' and redis.call('HGET', record, 'u') ~= ARGV[3] then return 0 end
if not bind(record, token, user, stored_clock()) then return 0 end
if redis.call('HEXISTS', record, 's') == 1 then
  local offset, day = next_offset(), 86400
  local body = cjson.encode({op = 'bound', user = user})
  local previous = append('dev:' .. token, offset, day, ARGV[5], 'c', body)
  announce(ARGV[4], previous, offset, day, ARGV[5], 'c', body)
end
return 1
