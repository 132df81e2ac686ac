-- Where the outbox of webhooks is kept, on every server for what is decided there. webhook-wanted has by type the
-- ids of the endpoints that want it (by spaces), and: `version` of the endpoints that it was made of, `server`
-- (the index of this one), `max_waiting`, `grace_ms`, `endpoints` (the ids of all of them, by spaces),
-- GONE_FIELD<id> for each that was deleted and of which something may be kept here, and `presence`, see
-- webhook_endpoints.lua. webhook-inbox has what scripts have written down.
-- webhook-events has the events by id, as msgpack {type, source, seq, endpoints, data (JSON), trace}; webhook-log
-- which of them can be replayed, by offset. Of each endpoint: webhook-waiting: what it does not have yet, by
-- since when it waits (an offset); webhook-due: the same by when the next attempt is due, in ms; webhook-tries:
-- how many attempts failed; webhook-states: the last `device.*` of a source that waits; webhook-failed: what was
-- given up; webhook-attempts: a log. webhook-lost counts what was given up, by endpoint. An id is
-- evt_<offset>_<server>: so ids sort by time.
local WEBHOOK_EVENTS = prefix .. 'webhook-events'
local WEBHOOK_LOG = prefix .. 'webhook-log'

local function webhook_waiting_key(endpoint) return prefix .. 'webhook-waiting:' .. endpoint end

local function webhook_due_key(endpoint) return prefix .. 'webhook-due:' .. endpoint end

local function webhook_tries_key(endpoint) return prefix .. 'webhook-tries:' .. endpoint end

local function webhook_states_key(endpoint) return prefix .. 'webhook-states:' .. endpoint end

local function webhook_failed_key(endpoint) return prefix .. 'webhook-failed:' .. endpoint end

local function webhook_attempts_key(endpoint) return prefix .. 'webhook-attempts:' .. endpoint end

-- Which process delivers for the endpoint, and until when (ms) the endpoint has asked for a pause.
local function webhook_lease_key(endpoint) return prefix .. 'webhook-lease:' .. endpoint end

local function webhook_pause_key(endpoint) return prefix .. 'webhook-pause:' .. endpoint end

local function event_id(offset, server) return 'evt_' .. offset .. '_' .. server end

-- When an event was decided, from its id.
local function event_offset(id) return string.match(id, '^evt_(%d+)_') end

local function is_state(type) return string.sub(type, 1, 7) == 'device.' end
