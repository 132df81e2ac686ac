"""Who runs the examples of all documents one after another, with one API key, meets no
`idempotency_mismatch`: a key, and a `client_id`, stands in one example only."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
FORMS = [
    r"Idempotency-Key:\s*",
    r"--idempotency-key[= ]",
    r"[\"']?(?:idempotency_key|client_id)[\"']?\s*[:=]\s*",
]
KEY = re.compile(rf"(?:{'|'.join(FORMS)})[\"']?([\w.@:+=-]*[\w-])")
PLACEHOLDERS = {"KEY", "str", "None", "string"}


def keys(text: str) -> list[str]:
    return [key for key in KEY.findall(text) if key not in PLACEHOLDERS]


def test_every_form_of_a_key_is_found():
    text = """-H 'Idempotency-Key: a-1' --idempotency-key b-2 {"idempotency_key": "c-3"}
    push(idempotency_key="d-4") send(client_id="e-5") {"client_id": "f-6"}"""
    assert keys(text) == ["a-1", "b-2", "c-3", "d-4", "e-5", "f-6"]


def test_no_key_stands_for_two_bodies():
    found: Counter[str] = Counter()
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        lines = page.read_text(encoding="utf-8").splitlines()
        # A message that came has the key of the request that made it.
        found.update(keys("\n".join(line for line in lines if '"seq":' not in line)))
    assert len(found) >= 3
    assert {key: times for key, times in found.items() if times > 1} == {}
