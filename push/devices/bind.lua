-- Bind a device to a user, or unbind it. KEYS: clock, record, the device's own log.
-- ARGV: token, user ('' = unbind), user it must be bound to now ('' = any), prefix of the
-- keys of users, channel of the device's stream, id, max_age_us.
-- Returns -1: no such device; 0: nothing to change; 1: changed. A device with a session is told by
-- an entry of its own log, so that no change is missed however the connection fares (rule 5).
local record, token, user = KEYS[2], ARGV[1], ARGV[2]
if redis.call('EXISTS', record) == 0 then return -1 end
if ARGV[3] ~= '' and redis.call('HGET', record, 'u') ~= ARGV[3] then return 0 end
if not bind(record, token, user, ARGV[4], stored_clock()) then return 0 end
if redis.call('HEXISTS', record, 's') == 1 then
  local offset = next_offset()
  local body = cjson.encode({op = 'bound', user = user})
  local day = 86400
  local previous = append(KEYS[3], offset, day, tonumber(ARGV[7]), ARGV[6], 'c', body)
  announce(ARGV[5], previous, offset, offset, day, ARGV[6], 'c', body)
end
return 1
