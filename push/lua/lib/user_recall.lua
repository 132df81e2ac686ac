-- A message is recalled from a user's stream.
-- uses: push, request, for_user, take_back, recalled_copy

function WORK.recall(user, message, id, body)
  if not request.alone then redis.call('SET', recalled_copy_key(user, message), '1', 'EX', DAY_SECONDS) end
  take_back('user:' .. user, message)
  post_push('user:' .. user, id, body)
end

-- `id` and `body`: the PUSH that says so.
local function recall_for_user(user, message, id, body) for_user('recall', user, message, id, body) end
