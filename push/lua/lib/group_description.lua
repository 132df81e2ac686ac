-- The description of a group in answers.
-- uses: group_keys

-- As a flat list of names and values.
local function described(group)
  local fields = {}
  for name, value in pairs(group) do
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  fields[#fields + 1] = 'members'
  fields[#fields + 1] = redis.call('ZCARD', names_key(group.id))
  return fields
end
