-- Delete a device and all that waits for it. ARGV: token; and, to delete it only if nothing has
-- changed, the boot id that its record names ('' where none).
-- Returns nil, or {session, boot id ('' where none), errand, ...}. In the ledger, what it had not
-- acknowledged is dropped; what it shared with many not for one that was away until its time was over:
-- that may be a long log, and many such devices. It counts as expired there, when it does.
local token = ARGV[1]
local record = prefix .. 'device:' .. token
if ARGV[2] and (redis.call('HGET', record, 'b') or '') ~= ARGV[2] then return false end
redis.call('ZREM', prefix .. 'devices', token)
local session = redis.call('HMGET', record, 's', 'b')
local fields = redis.call('HKEYS', record)
if #fields == 0 then return false end
for _, name in ipairs(fields) do
  local kind, stream = string.match(name, '^([cx]):(.+)$')
  if kind == 'x' then
    send_errand(ARGV[2] and 'retire' or 'forget', token, stream)
  elseif kind == 'c' then
    unfollow(record, token, stream, (is_listed(stream) or not ARGV[2]) and 'd:forgotten' or '')
  end
end
local own = 'dev:' .. token
redis.call('DEL', record, prefix .. 'log:' .. own, prefix .. 'lost:' .. own)
delete_if_empty(own)
return {session[1] or '', session[2] or '', unpack(errands)}
