-- Devices. ARGV: tokens. Returns per device that is there {token, platform, app, session, boot id of its
-- connector, name of its node, seen}.
local found = {}
for _, token in ipairs(ARGV) do
  local fields = redis.call('HMGET', prefix .. 'device:' .. token, 'p', 'a', 's', 'b', 'n', 'seen')
  if fields[1] then
    table.insert(fields, 1, token)
    -- A nil would end the list.
    for i = 1, 7 do fields[i] = fields[i] or '' end
    found[#found + 1] = fields
  end
end
return found
