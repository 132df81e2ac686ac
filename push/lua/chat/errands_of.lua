-- What this server has written down to be done for a user on others.
-- KEYS: clock.
-- ARGV: the request: user, limit.
-- Returns errands for users and errands for devices, as they are written down.
-- uses: request, work_queue
local PART = 1000
local stream = 'user:' .. request.user

local function errands_of(queue, is_theirs)
  local found, start = {}, 0
  while #found < request.limit do
    local page = redis.call('ZRANGEBYSCORE', queue_key(queue), '-inf', '+inf', 'LIMIT', start, PART)
    for _, text in ipairs(page) do
      if is_theirs(text) then found[#found + 1] = text end
    end
    if #page < PART then break end
    start = start + PART
  end
  return found
end

-- Kind, user, version and arguments; those of `let_in` end with several users.
local function is_for_user(text)
  local errand = cmsgpack.unpack(text)
  if errand[1] ~= 'let_in' then return errand[2] == request.user end
  for i = 8, #errand do
    if errand[i] == request.user then return true end
  end
  return false
end

local function is_for_device(text) return string.match(text, '^%S+ %S+ (%S+)') == stream end

return done(errands_of('chat-errands', is_for_user), errands_of('errands', is_for_device))
