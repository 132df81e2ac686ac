-- A conversation of two goes, for both.
-- uses: conversation, ended_seq, work_queue, user_forget

-- `seq` is its last.
local function end_conversation(owner, seq)
  if seq > ended_seq(owner) then redis.call('HSET', ENDED_SEQS_KEY, ended_seq_field(owner), str(seq)) end
  redis.call('DEL', conversation_key(owner), history_key(owner), recalled_key(owner), positions_key(owner))
  end_work(HISTORIES, owner)
  for _, user in ipairs({ peers_of(owner) }) do
    forget_for_user(user, conversation_with(owner, user), seq)
  end
end
