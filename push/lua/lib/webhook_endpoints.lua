-- The endpoints of webhooks: on the first server, by id, as JSON. VERSION_FIELD counts the changes,
-- TESTS_FIELD<id> the test events of an endpoint, and PRESENCE_FIELD is since which offset some endpoint wants to
-- know who is online: the same for all servers, as devices may move to another.
local WEBHOOK_ENDPOINTS = prefix .. 'webhook-endpoints'
local VERSION_FIELD = '#'
local PRESENCE_FIELD = '#presence'
local TESTS_FIELD = '#tests '
