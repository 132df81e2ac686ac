"""Property tests are the same on every run: derandomised, without a deadline or a database."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("push", derandomize=True, deadline=None, database=None, max_examples=80)
settings.load_profile("push")
