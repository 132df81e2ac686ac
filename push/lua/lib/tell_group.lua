-- Members of a group are told of an event in its log.
-- uses: push, group_event

local function tell_group(gid, event, users) post_push('group:' .. gid, event_of(gid, event, users)) end
