"""How often a user's devices may do what costs others something. A backend is not limited.

An act is counted by its own script (rate.lua), so that a limit costs no question of its own: where
the user is, which with several servers may be another one than that of the act. Then it is counted
there first.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Rate(NamedTuple):
    """`kind` names the setting and the limit; `what` is for people, as "messages"."""

    kind: str
    per_minute: int
    what: str

    def of(self, user: str) -> dict[str, Any]:
        """What the script that counts it is asked; nothing when there is no limit."""
        if not self.per_minute:
            return {}
        return {"rate": [user, self.kind, self.per_minute, self.what]}


NO_RATE: Final = Rate("", 0, "")  # of a backend
