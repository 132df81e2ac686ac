-- Idempotency keys: idem:<key> has the answer, claim:<key> which message it stands for on several servers.

-- How long both are kept (IDEMPOTENCY_KEY_SECONDS in push/wire/defaults.py).
local IDEMPOTENCY_KEY_SECONDS = 86400
