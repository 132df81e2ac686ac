-- Which endpoints there are, and which want events of which type, for the scripts of this server. What was made of
-- an earlier version of the endpoints than what is known changes nothing.
-- KEYS: clock.
-- ARGV: version, index of this server, max_waiting, grace_ms, ids of all endpoints, since which offset one of them
-- wants to know who is online ('' = none does), then per type that is wanted: type, ids of the endpoints.
-- Returns 1, or 0 when it did nothing.
-- uses: webhooks
local kept = redis.call('HGETALL', WEBHOOK_WANTED)
local before = {}
for i = 1, #kept, 2 do
  before[kept[i]] = kept[i + 1]
end
if before.version and tonumber(before.version) > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', WEBHOOK_WANTED)
-- stylua: ignore
redis.call('HSET', WEBHOOK_WANTED, 'version', ARGV[1], 'server', ARGV[2], 'max_waiting', ARGV[3],
  'grace_ms', ARGV[4], 'endpoints', ARGV[5], unpack(ARGV, 7))
if ARGV[6] ~= '' then redis.call('HSET', WEBHOOK_WANTED, 'presence', ARGV[6]) end

-- Events kept for deleted endpoints are still to be removed.
local gone = {}
for endpoint in string.gmatch(before.endpoints or '', '%S+') do
  gone[GONE_FIELD .. endpoint] = true
end
for field in pairs(before) do
  if string.sub(field, 1, #GONE_FIELD) == GONE_FIELD then gone[field] = true end
end
for endpoint in string.gmatch(ARGV[5], '%S+') do
  gone[GONE_FIELD .. endpoint] = nil
end
for field in pairs(gone) do
  redis.call('HSET', WEBHOOK_WANTED, field, '')
end
return 1
