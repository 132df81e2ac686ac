-- A PUSH to a user.
-- uses: push, for_user

function WORK.post(user, id, body, collapse)
  post_push('user:' .. user, id, body, collapse ~= '' and collapse or nil)
end

-- `collapse` may be ''.
local function post_to_user(user, id, body, collapse) for_user('post', user, id, body, collapse) end
