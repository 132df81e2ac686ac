"""What is still being built. Each constant is set to True when its feature is in.

A constant and not a probe: a feature that breaks must fail its tests, not switch them off.
"""

from __future__ import annotations

# GET /v1/messages/{id} and …/devices: every audit then compares it with the test's own record.
LEDGER = False
# `Idempotency-Key` on POST /v1/push, refused with 422 until then.
IDEMPOTENCY_KEYS = False
# [connector] max_backlog: the oldest messages of a device that is far behind are dropped.
MAX_BACKLOG = False
