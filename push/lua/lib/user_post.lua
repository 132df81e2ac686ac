-- A PUSH to a user.
-- uses: push, for_user

function WORK.post(user, id, content, collapse)
  post_push('user:' .. user, id, content, collapse ~= '' and collapse or nil)
end

-- `collapse` may be ''.
local function post_to_user(user, id, content, collapse) for_user('post', user, id, content, collapse) end
