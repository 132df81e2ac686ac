-- The names of the topics of this server that a device follows, in order.
-- uses: followers
local TOPICS_KEY = prefix .. 'topics'

-- The followers of a stream have changed.
local function list_topic(stream)
  local topic = string.match(stream, '^topic:(.+)$')
  if not topic then return end
  if redis.call('EXISTS', followers_key(stream)) == 1 then
    redis.call('ZADD', TOPICS_KEY, '0', topic)
  else
    redis.call('ZREM', TOPICS_KEY, topic)
  end
end
