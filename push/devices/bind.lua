-- Bind a device to a user, or unbind it. KEYS: clock, record, the device's own log.
-- ARGV: floor, token, user ('' = unbind), user it must be bound to now ('' = any), prefix of the
-- keys of users, channel of the device's stream, id, max_age_us.
-- Returns -1: no such device; 0: nothing to change; 1: changed. A device with a session is told by
-- an entry of its own log, so that no change is missed however the connection fares (rule 5).
local record, token, user = KEYS[2], ARGV[2], ARGV[3]
if redis.call('EXISTS', record) == 0 then return -1 end
if ARGV[4] ~= '' and redis.call('HGET', record, 'u') ~= ARGV[4] then return 0 end
if not bind(record, token, user, ARGV[5], stored_clock()) then return 0 end
if redis.call('HEXISTS', record, 's') == 1 then
  local offset = next_offset(clock_now(tonumber(ARGV[1])))
  local body = cjson.encode({op = 'bound', user = user})
  local day = 86400
  local previous = append(KEYS[3], offset, day, tonumber(ARGV[8]), ARGV[7], 'c', body)
  announce(ARGV[6], previous, offset, offset, day, ARGV[7], 'c', body)
end
return 1
