-- Renew the caller's entries, remove entries that lapsed, and return all.
-- KEYS: clock, entries, state.
-- ARGV: lease_us, channel, alone (1: an entry of another boot under the caller's name is dead), then field,
-- boot, json of each own entry.
-- Returns {now, revision, era, {field, json, …}, {field, boot, lapses_us, …}}: the last are entries of
-- others under the caller's names, which were left as they are.
-- uses: registry
local lease, channel, alone = tonumber(ARGV[1]), ARGV[2], ARGV[3] == '1'
local conflicts = {}
redis.call('HSETNX', KEYS[3], 'era', str(now)) -- a new one tells that the data was lost

for i = 4, #ARGV, 3 do
  local field, boot, json = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local lapses, holder, before = parse(redis.call('HGET', KEYS[2], field))
  if holder and holder ~= boot and lapses > now and not alone then
    conflicts[#conflicts + 1] = field
    conflicts[#conflicts + 1] = holder
    conflicts[#conflicts + 1] = str(lapses)
  else
    redis.call('HSET', KEYS[2], field, str(now + lease) .. ' ' .. boot .. ' ' .. json)
    if before ~= json then announce_change(channel, 'put', field, json) end
  end
end

local entries = {}
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local lapses, _, json = parse(all[i + 1])
  if lapses > now then
    entries[#entries + 1] = all[i]
    entries[#entries + 1] = json
  else
    redis.call('HDEL', KEYS[2], all[i])
    announce_change(channel, 'lapsed', all[i], '')
  end
end
local state = redis.call('HMGET', KEYS[3], 'revision', 'era')
return { str(now), state[1] or '0', state[2], entries, conflicts }
