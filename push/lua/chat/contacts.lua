-- Which users does a user share a conversation or a group with, as far as they are on this server?
-- KEYS: clock.
-- ARGV: the request: user, others, chats (the conversation of two with each of the others that is here, '' for
-- the rest), groups (ids of groups that are here), active (only those who have written or created it); rate.
-- Returns those of the others, by their positions in the list.
-- uses: request, rate, conversation, activity, group_keys
local refusal = rate_refusal()
if refusal then return refusal end
local user, others = request.user, request.others
local known = {}

for i, owner in ipairs(request.chats) do
  local field = request.active and active_field(others[i]) or 'seq'
  known[i] = owner ~= '' and redis.call('HEXISTS', conversation_key(owner), field) == 1
end

local function note_known(key, places, fields)
  if #fields == 0 then return end
  for i, found in ipairs(redis.call('HMGET', key, unpack(fields))) do
    if found then known[places[i]] = true end
  end
end

for _, gid in ipairs(request.groups) do
  if redis.call('HEXISTS', members_key(gid), user) == 1 then
    local places, fields = {}, {}
    for i, other in ipairs(others) do
      if not known[i] then
        places[#places + 1] = i
        fields[#fields + 1] = request.active and active_field(other) or other
      end
    end
    note_known(request.active and conversation_key('group:' .. gid) or members_key(gid), places, fields)
  end
end

local positions = {}
for i in ipairs(others) do
  if known[i] then positions[#positions + 1] = i end
end
return done(positions)
