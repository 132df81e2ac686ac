-- What an act in a conversation means for a user, whose stream and devices may be on another server.
-- With one server it is done in the same step; else it is an errand (see chat/outbox.py), done at once
-- by the caller, or by whoever finds it later (architecture, rule 13). All of it may be done twice.
local errands_for_users = {}
local WORK = {}

local function list_key(user)
  return prefix .. 'user-streams:' .. user
end

-- The devices of the user follow a group, or do no longer: done here where their records are here, else
-- by who runs the errand. Sessions without a device read of it in the user's stream.
local function change_following(user, change)
  local tokens = redis.call('SMEMBERS', prefix .. 'user-devices:' .. user)
  if request.alone then
    for _, token in ipairs(tokens) do
      local record = prefix .. 'device:' .. token
      if change(record, token) then tell(record, token) end
    end
  end
  post_control('user:' .. user, '{"op":"groups"}')
  return tokens
end

function WORK.follow(user, stream, begin)
  redis.call('SADD', list_key(user), stream)
  return change_following(user, function(record, token)
    return follow(record, token, stream, tonumber(begin))
  end)
end

function WORK.unfollow(user, stream, code)
  redis.call('SREM', list_key(user), stream)
  return change_following(user, function(record, token)
    return unfollow(record, token, stream, code)
  end)
end

-- A PUSH to the user; `collapse` may be ''.
function WORK.post(user, id, body, collapse)
  post_push('user:' .. user, id, body, collapse ~= '' and collapse or nil)
end

-- A message is taken out of a stream for those who have not read it.
local function take_back(stream, id)
  local offset = redis.call('HGET', message_key(id), 'o:' .. stream)
    or redis.call('HGET', message_key(id), 'o')
  if not offset then return end
  local entry = redis.call('XRANGE', prefix .. 'log:' .. stream, offset, offset)[1]
  if not entry or entry[2][2] ~= id then return end
  take_out(stream, entry, 'c')
  delete_if_empty(stream)
  announce(channel_of(stream), '0', 0, 0, id, 'x', '', offset)
end

-- A message that was recalled before its copy came is not copied any more.
local function recalled_copy_key(user, message)
  return prefix .. 'recalled-copy:' .. user .. ',' .. message
end

function WORK.recall(user, message, id, body)
  if not request.alone then
    redis.call('SET', recalled_copy_key(user, message), '1', 'EX', DAY_SECONDS)
  end
  take_back('user:' .. user, message)
  post_push('user:' .. user, id, body)
end

local function for_user(kind, user, ...)
  if request.alone then
    WORK[kind](user, ...)
    return
  end
  local text = cmsgpack.pack({kind, user, str(next_offset()), ...})
  redis.call('ZADD', prefix .. 'chat-errands', str(math.floor(now / 1000)), text)
  errands_for_users[#errands_for_users + 1] = text
end

local function done(...)
  return {'ok', errands_for_users, ...}
end
