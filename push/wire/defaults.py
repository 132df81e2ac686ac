"""Numbers that several parts share and that the documents name. Each is defined here only.

They are the defaults of the settings, and of a part that is used without settings (in a test, by
the command line).
"""

from __future__ import annotations

# Ports.
TCP_PORT = 6789
TLS_PORT = 6790
WS_PORT = 6791
ADMIN_PORT = 6792
WSS_PORT = 6793
HTTP_PORT = 8080
GROUP_PORT = 8081  # so that push-group and push-sub run beside push-api on one machine
SUB_PORT = 8082

# Messages.
MAX_PAYLOAD_BYTES = 256 * 1024
TTL_SECONDS = 86_400
TTL_MAX_SECONDS = 30 * 86_400
CHAT_TTL_SECONDS = 7 * 86_400
MAX_BACKLOG_MESSAGES = 10_000
SHARED_MAX_MESSAGES = 100_000
SHARED_MAX_AGE_SECONDS = 30 * 86_400
IDEMPOTENCY_KEY_SECONDS = 86_400  # what scripts keep: push/lua/lib/idempotency.lua

# Devices.
TOPICS_PER_DEVICE = 100
EVENTS_TOTAL = 200_000  # entries of the timelines of all devices, a Redis server
BANS_MAX = 100_000
DEVICE_RETENTION_DAYS = 270

# Sessions.
HEARTBEAT_SECONDS = 300
HEARTBEAT_MIN_SECONDS = 10
HEARTBEAT_MAX_SECONDS = 1800
HEARTBEAT_GRACE_SECONDS = 60
HANDSHAKE_TIMEOUT_SECONDS = 10
REDELIVER_AFTER_SECONDS = 30
COMMENT_SECONDS = 25  # between two comments of a response to `GET /v1/stream`
MAX_DELIVERIES = 10  # copies of a message that is not acknowledged
WINDOW_MESSAGES = 64
WINDOW_BYTES = 1024 * 1024
FRAMES_PER_SECOND = 200
BYTES_PER_SECOND = 1024 * 1024
CONNECTIONS_PER_USER = 32
CONNECTS_PER_MINUTE = 600
MEMORY = "60%"
SHORT_OF_MEMORY_AFTER_SECONDS = 10

# Conversations.
HISTORY_DAYS = 365
RECALL_SECONDS = 120
GROUP_MAX_MEMBERS = 10_000
GROUPS_PER_USER = 500  # that devices may put them into
CHAT_MESSAGES_PER_MINUTE = 60
CHAT_TYPING_PER_MINUTE = 60
CHAT_PRESENCE_PER_MINUTE = 60
CHAT_GROUPS_PER_MINUTE = 10  # created, or added to
DRAIN_RATE_PER_SECOND = 500  # sessions that a connector sends away before it stops
# The most that it may be told to: more is no limit at all.
MAX_DRAIN_RATE_PER_SECOND = 1_000_000

# Webhooks.
WEBHOOKS_PORT = 8083
WEBHOOKS_MAX_WAITING = 100_000  # events for an endpoint
WEBHOOKS_MAX_AGE_SECONDS = 7 * 86_400
WEBHOOKS_OFFLINE_AFTER_SECONDS = 10
WEBHOOKS_CONCURRENCY = 8
WEBHOOKS_RETRIES_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
