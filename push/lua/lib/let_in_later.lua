-- The members of a new group are let in a part at a time: 500 of them would take Redis from all others for
-- 30 ms. In the records of the group they are members before.
-- uses: request, work_queue

local LET_IN_AT_A_TIME = 25

-- An errand for each part of `users`; see let_in.lua.
local function let_in_later(gid, users, offset)
  for first = 1, #users, LET_IN_AT_A_TIME do
    local last = math.min(first + LET_IN_AT_A_TIME - 1, #users)
    local part = { unpack(users, first, last) }
    local errand =
      { 'let_in', part[1], str(next_offset()), gid, request.by, request.id, str(offset), unpack(part) }
    local text = cmsgpack.pack(errand)
    put_work('chat-errands', text)
    errands_for_users[#errands_for_users + 1] = text
  end
end
