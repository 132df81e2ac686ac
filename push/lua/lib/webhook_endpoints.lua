-- The endpoints of webhooks: on the first server, by id, as JSON. VERSION_FIELD counts the changes, and
-- TESTS_FIELD<id> the test events of an endpoint.
local WEBHOOK_ENDPOINTS = prefix .. 'webhook-endpoints'
local VERSION_FIELD = '#'
local TESTS_FIELD = '#tests '
