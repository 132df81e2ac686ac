"""Every key, field and code that is stored in Redis, once.

The scripts of `push/lua/` have fields and codes under the same names (`lib/fields.lua`), and the
names of keys in files of `lib/`; tests compare them. `push/resharding/kinds.py` says who owns the
keys and where they go when the list of servers changes, `docs/operating.md` when they end.
"""

from __future__ import annotations

from push.session import subscription

DEVICE_PREFIX = "dev:"

# --- Keys, without the prefix of all keys. A name that ends with ":" is followed by an owner.

# Streams: by the name of the stream.
LOG = "log:"
LOST = "lost:"  # up to which offset something was dropped unread
COLLAPSE = "collapse:"
EXPIRY = "expiry"  # a queue of streams
FOLLOWERS = "followers:"

# Devices: by token.
DEVICE = "device:"
DEVICES = "devices"  # a queue: when each is forgotten
GONE = "gone:"
ENDED = "ended:"  # where it ceased to follow streams, for the last words of its session
ERRANDS = "errands"  # a queue: what is to be done for devices on other servers
TOPICS = "topics"
TOPICS_CURSOR = "topics-cursor:"
BANS = "bans"
BAN_CHANGES = "ban-changes"  # the same bans, by when each was made
LIFTED_BANS = "lifted-bans"  # the last that were lifted, by when
FORGOTTEN_LIFTS = "forgotten-lifts"  # up to which offset they are not known
KICKS = "kicks"  # that not every connector has confirmed
API_KEYS = "api-keys"  # that were made while the deployment runs, by name
KEY_USES = "key-uses"  # digests of keys, by when each was used last
LIMIT = "limit:"
RATE = "rate:"  # of acts of a user's devices, or of requests with an API key
EVENT_POSITIONS = "event-positions:"  # what the ids of events stand for

# Users: by name.
USER_DEVICES = "user-devices:"
USER_STREAMS = "user-streams:"
USER_STREAM_VERSIONS = "user-stream-versions:"
CONVERSATIONS = "conversations:"
COPIED = "copied:"
RECALLED_COPY = "recalled-copy:"
ENDED_COPY = "ended-copy:"
CLAIMED = "claimed:"
ERASING = "erasing"  # a queue of users
CHAT_ERRANDS = "chat-errands"  # a queue: what is to be done for users on other servers

# Conversations: by `chat:<a>,<b>` or `group:<id>`.
CONVERSATION = "conversation:"
HISTORY = "history:"
HISTORIES = "histories"  # a queue: in which something is to be let go
RECALLED = "recalled:"
POSITIONS = "positions:"
SENT = "sent:"
ENDED_SEQS = "ended-seqs"

# Groups: by id.
GROUP = "group:"
MEMBERS = "members:"
MEMBER_NAMES = "member-names:"
DISMISSED = "dismissed"  # a queue of groups

# Messages: by id, or by idempotency key.
MESSAGE = "message:"
IDEM = "idem:"
CLAIM = "claim:"

# What operators see (push/observe). Each kind of journal also has its owners, a queue of which had
# nothing for longest, and the number of all entries.
TIMELINE = "device-events:"  # by token
TIMELINE_OWNERS = "device-events-owners"
TIMELINE_TOTAL = "device-events-total"
RECENT = "recent:"  # messages, by their target as in a query: user:anna, topic:news, all
RECENT_OWNERS = "recent-owners"
RECENT_TOTAL = "recent-total"
AUDIT = "audit:"  # by the part of the trail
# Webhooks: of the deployment, and by the id of an endpoint; see push/lua/lib/webhook_keys.lua.
WEBHOOK_ENDPOINTS = "webhook-endpoints"
WEBHOOK_WANTED = "webhook-wanted"
WEBHOOK_INBOX = "webhook-inbox"  # what scripts wrote down
WEBHOOK_EVENTS = "webhook-events"
WEBHOOK_LOG = "webhook-log"
WEBHOOK_LOST = "webhook-lost"
WEBHOOK_WAITING = "webhook-waiting:"
WEBHOOK_DUE = "webhook-due:"
WEBHOOK_TRIES = "webhook-tries:"
WEBHOOK_STATES = "webhook-states:"
WEBHOOK_FAILED = "webhook-failed:"
WEBHOOK_ATTEMPTS = "webhook-attempts:"
WEBHOOK_LEASE = "webhook-lease:"
WEBHOOK_PAUSE = "webhook-pause:"
WEBHOOK_ONLINE = "webhook-online"  # "<boot id> <token>": sessions of which somebody is told
WEBHOOK_OFFLINE = "webhook-offline"  # a queue: devices that are to be told offline

# The server.
CLOCK = "clock"
SHARD = "shard"
CHECK = "check"
CHECK_OF = "check:"
CONFIRMED = "confirmed"
CLUSTER = "cluster:"
ARRIVING = "arriving:"
LEAVING = "leaving"

# --- Fields of a device's record: see push/devices/record.py.

DEVICE_SECRET = "h"
DEVICE_PLATFORM = "p"
DEVICE_APP = "a"
DEVICE_LABEL = "d"
DEVICE_CREATED = "created"
DEVICE_SEEN = "seen"
DEVICE_USER = "u"
DEVICE_SESSION = "s"
DEVICE_BOOT = "b"
DEVICE_NODE = "n"
DEVICE_EPOCH = "e"
# Of a stream, whose name is after the colon.
DEVICE_CURSOR = "c:"
DEVICE_START = "f:"
DEVICE_POSITION = "p:"
DEVICE_ATTEMPTS = "t:"
DEVICE_ELSEWHERE = "x:"
DEVICE_VERSION = "v:"
DEVICE_BY_JWT = "j:"
DEVICE_REREAD = "r:"
# For webhooks: what was told last of it, and how many events it had.
DEVICE_TOLD = "w"
DEVICE_EVENT_NUMBER = "q"

# --- Fields of a message's record in the ledger: see push/lua/lib/ledger.lua.

LEDGER_TO = "to"
LEDGER_TIME = "ts"
LEDGER_EXPIRES = "x"
LEDGER_OFFSET = "o"
LEDGER_OFFSET_IN = "o:"
LEDGER_LINE = "t:"
LEDGER_TOKENS = "u:"
LEDGER_ADDRESSED = "n"
LEDGER_WRITTEN = "w"
LEDGER_TRACE = "tp"  # the traceparent of its publishing, if it is traced
LEDGER_CLOSED_WITH = "z"
LEDGER_CLOSED_AT = "zo"  # the offset at which the entry left
LEDGER_EVENT_COUNT = "q"  # how many events for webhooks it had

# --- What became of a message for a device: states, and names of counters. What a session decides
# has its code there.

WAITING = "s"
ACKNOWLEDGED = subscription.ACKNOWLEDGED
EXPIRED = subscription.EXPIRED
CANCELLED = "c"
DROPPED = "d:"
DROPPED_BACKLOG = "d:backlog"
DROPPED_CONGESTED = "d:congested"
DROPPED_COLLAPSED = "d:collapsed"
DROPPED_ERASED = "d:erased"
DROPPED_FORGOTTEN = "d:forgotten"
DROPPED_REMOVED = "d:removed"
DROPPED_RETENTION = "d:retention"
DROPPED_TOO_LARGE = subscription.TOO_LARGE
DROPPED_UNACKNOWLEDGED = subscription.UNACKNOWLEDGED
DROPPED_UNBOUND = "d:unbound"
DROPPED_UNSUBSCRIBED = "d:unsubscribed"

# --- What an entry of a log, or an announcement, is.

ENTRY_MESSAGE = "m"
ENTRY_CONTROL = "c"
ENTRY_ONLINE = "o"  # for those who are online: in no log
ENTRY_REMOVAL = "x"
ENTRY_TYPING = "t"  # in no log, and not for the sessions of its `user`


def log_name(stream: str) -> str:
    """The key (without prefix) of a stream's log."""
    return f"{LOG}{stream}"


def channel_name(stream: str) -> str:
    """The channel (without prefix) of a stream."""
    return f"live:{stream}"


def record_name(token: str) -> str:
    """The key (without prefix) of a device's record: who it is, its session, its cursors."""
    return f"{DEVICE}{token}"


def message_name(id: str) -> str:
    """The key (without prefix) of a message's record in the ledger."""
    return f"{MESSAGE}{id}"


def group_name(group: str) -> str:
    """The key (without prefix) of a group's record, which is there as long as the group is."""
    return f"{GROUP}{group}"


def is_device_stream(stream: str) -> bool:
    return stream.startswith(DEVICE_PREFIX)
