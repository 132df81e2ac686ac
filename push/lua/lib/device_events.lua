-- Webhooks are told which devices are online. A device is told to be offline when it was without a session for a
-- grace time: until then it is in the queue `webhook-offline`. DEVICE_TOLD in its record is what was told last,
-- after the offset since which an endpoint wants to know; webhook-online has "<boot id> <token>" of all that have
-- a session, for those whose connector is killed.
-- uses: fields, work_queue, webhooks
local ONLINE_KEY = prefix .. 'webhook-online'
local OFFLINE_QUEUE = 'webhook-offline'

local function put_device_event(record, token, type)
  if not endpoints_for(type) then return end
  local kept = redis.call('HMGET', record, DEVICE_USER, DEVICE_NODE, DEVICE_SEEN)
  local seq = redis.call('HINCRBY', record, DEVICE_EVENT_NUMBER, 1)
  local data = '{"token":"' .. token .. '","user":' .. json_text(kept[1]) .. ',"node":' .. json_text(kept[2])
  put_event(type, 'device:' .. token, seq, data .. ',"seen":' .. (kept[3] or 'null') .. '}')
end

-- The record names its session by now. `before`: the boot id of the connector that had one.
local function device_came_online(record, token, boot, before)
  local presence = redis.call('HGET', WEBHOOK_WANTED, 'presence')
  if not presence then return end
  if before then redis.call('ZREM', ONLINE_KEY, before .. ' ' .. token) end
  redis.call('ZADD', ONLINE_KEY, 0, boot .. ' ' .. token)
  end_work(OFFLINE_QUEUE, token)
  if redis.call('HGET', record, DEVICE_TOLD) == presence .. '1' then return end
  redis.call('HSET', record, DEVICE_TOLD, presence .. '1')
  put_device_event(record, token, 'device.online')
end

-- Its session has ended; `boot`: that of its connector.
local function device_lost_session(token, boot)
  local kept = redis.call('HMGET', WEBHOOK_WANTED, 'presence', 'grace_ms')
  if not kept[1] then return end
  if boot then redis.call('ZREM', ONLINE_KEY, boot .. ' ' .. token) end
  schedule_work(OFFLINE_QUEUE, token, clock_ms() + tonumber(kept[2] or '0'))
end

-- It is offline. `told`: only if it was told to be online.
local function device_went_offline(record, token, told)
  end_work(OFFLINE_QUEUE, token)
  local presence = redis.call('HGET', WEBHOOK_WANTED, 'presence')
  if not presence then return end
  local last = redis.call('HGET', record, DEVICE_TOLD)
  if last == presence .. '0' or told and last ~= presence .. '1' then return end
  redis.call('HSET', record, DEVICE_TOLD, presence .. '0')
  put_device_event(record, token, 'device.offline')
end
