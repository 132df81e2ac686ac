-- A conversation of two ended for a user.
-- uses: request, for_user, conversation_list

-- With the message `seq`.
function WORK.forget(user, conversation, seq)
  if last_copied(user, conversation).seq > tonumber(seq) then return end -- it began again
  redis.call('ZREM', conversations_key(user), conversation)
  redis.call('HDEL', copied_key(user), conversation)
  if not request.alone then redis.call('SET', ended_copy_key(user, conversation), seq, 'EX', DAY_SECONDS) end
end

local function forget_for_user(user, conversation, seq) for_user('forget', user, conversation, str(seq)) end
