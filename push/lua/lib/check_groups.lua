-- The groups of this server that a device follows are those of its user. What ended, and is not done here
-- yet, a session must not take up again after the place where it ended.
-- uses: record, follow

local function check_groups(record, token)
  local user = user_of(record) or ''
  for _, name in ipairs(redis.call('HKEYS', record)) do
    local stream, elsewhere = followed_stream(name)
    if stream and not elsewhere and string.sub(stream, 1, 6) == 'group:' then
      follow_as(record, token, stream, 0, user)
    end
  end
end
