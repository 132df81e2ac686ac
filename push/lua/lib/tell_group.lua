-- Members of a group get an event in its log.
-- uses: push, group_event, group_webhook

local function tell_group(gid, event, users)
  post_push('group:' .. gid, event_of(gid, event, users))
  put_group_event(gid, event, users)
end
