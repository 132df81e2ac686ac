-- Delete a device and all that waits for it. ARGV: token; and, to delete it only if nothing has
-- changed, the boot id that its record names ('' where none).
-- Returns nil, or {session, boot id} ('' where none). In the ledger, what it had not acknowledged is
-- dropped; what it shared with everyone not for one that was away until its time was over: that may
-- be a long log, and many such devices. It counts as expired there, when it does.
local token = ARGV[1]
local record = prefix .. 'device:' .. token
if ARGV[2] and (redis.call('HGET', record, 'b') or '') ~= ARGV[2] then return false end
redis.call('ZREM', prefix .. 'devices', token)
local fields = redis.call('HGETALL', record)
if #fields == 0 then return false end
local kept = {}
for i = 1, #fields, 2 do kept[fields[i]] = fields[i + 1] end
for name, cursor in pairs(kept) do
  if string.sub(name, 1, 2) == 'c:' then
    local stream = string.sub(name, 3)
    local position = tonumber(kept['p:' .. stream] or '0')
    if is_listed(stream) or not ARGV[2] then
      pass(stream, token, tonumber(cursor), position, now, 'd:forgotten')
    end
  end
end
if kept.u then redis.call('SREM', prefix .. 'user-devices:' .. kept.u, token) end
local own = 'dev:' .. token
redis.call('DEL', record, prefix .. 'log:' .. own, prefix .. 'lost:' .. own)
delete_if_empty(own)
return {kept.s or '', kept.b or ''}
