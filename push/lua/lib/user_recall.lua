-- A message is recalled from a user's stream.
-- uses: push, request, for_user, take_back, recalled_copy

function WORK.recall(user, message, id, content)
  if not request.alone then redis.call('SET', recalled_copy_key(user, message), '1', 'EX', DAY_SECONDS) end
  take_back('user:' .. user, message)
  post_push('user:' .. user, id, content)
end

-- `id` and `content`: the PUSH that says so.
local function recall_for_user(user, message, id, content) for_user('recall', user, message, id, content) end
