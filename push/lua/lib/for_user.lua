-- What an act in a conversation means for a user, whose stream and devices may be on another server. With one
-- server it is done in the same step; else it is an errand (see push/chat/outbox.py), done at once by the
-- caller, or by any daemon that finds it later (rule 13). All of it may be done twice.
-- The kinds of work are in the files user_*.lua; `copy` is done by copy.lua, `let_in` by let_in.lua.
-- uses: request, work_queue
local WORK = {}

local function for_user(kind, user, ...)
  if request.alone then
    WORK[kind](user, ...)
    return
  end
  local text = cmsgpack.pack({ kind, user, str(next_offset()), ... })
  put_work('chat-errands', text)
  errands_for_users[#errands_for_users + 1] = text
end
