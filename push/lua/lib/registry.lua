-- What the scripts of the registry share. KEYS: clock, entries, state (fields: revision, era).
-- An entry is stored as "<lapses_us> <boot> <json>" in the field "<service>/<instance>".

local function parse(stored)
  local lapses, boot, json = string.match(stored or '', '^(%d+) (%S+) (.*)$')
  return tonumber(lapses or '0'), boot, json
end

-- Everybody is notified of a change: "<revision before> <revision> <put|gone|lapsed> <field> <json>".
-- Revisions are offsets of the server's clock, so they go on upwards after a loss of all data.
local function announce_change(channel, kind, field, json)
  local previous = redis.call('HGET', KEYS[3], 'revision') or '0'
  local revision = str(next_offset())
  redis.call('HSET', KEYS[3], 'revision', revision)
  redis.call('PUBLISH', channel, table.concat({ previous, revision, kind, field, json }, ' '))
end
