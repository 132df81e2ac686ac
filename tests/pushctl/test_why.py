"""`pushctl trace` and the console give the same reason, and have a sentence for each."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from push.pushctl.commands.operate.why import (
    COUNTED,
    DROPPED,
    Facts,
    outcome_of,
    reason_of,
    sentences,
)

CONSOLE = Path(__file__).parents[2] / "push" / "web" / "console"
COUNT = 4000
NOW = 1_800_000_000_000
TARGETS: list[dict[str, Any]] = [
    {"token": "t"},
    {"tokens": ["t", "u"]},
    {"user": "anna"},
    {"users": ["anna", "ben"]},
    {"topic": "news"},
    {"group": "g"},
    {"ip": "10.0.0.0/8"},
    {"all": True},
]
STATES = ("stored", "written", "acknowledged", "expired", "cancelled", "dropped")


def any_facts(chance: random.Random) -> dict[str, Any]:
    """What may be known of a message and a device, as JSON."""
    times = [None, NOW - 5000, NOW - 1000, NOW, NOW + 1000]
    message = {"id": "m", "to": chance.choice(TARGETS), "ts": NOW - 3000}
    message["expires"] = chance.choice(times)
    for count in ("addressed", "stored", "written", "acknowledged", "expired", "cancelled"):
        message[count] = chance.choice([0, 1, 2])
    message["dropped"] = chance.choice([{}, {"backlog": 1}])
    device = {
        "user": chance.choice([None, "anna", "eve"]),
        "created": chance.choice([NOW - 9000, NOW - 2000]),
        "seen": chance.choice([None, NOW - 4000, NOW - 500]),
        "topics": chance.choice([[], ["news"]]),
        "online": chance.choice([True, False]),
        "session": None,
        "node": None,
        "backlog": 0,
        "token": "t",
    }
    delivery = {
        "token": "t",
        "state": chance.choice(STATES),
        "reason": chance.choice([None, "odd", *DROPPED]),
        "ts": NOW - 100,
    }
    bans = [{"token": "t"}, {"user": "anna"}, {"token": "u"}]
    return {
        "message": message,
        "token": "t",
        "device": chance.choice([None, device, device, device]),
        "delivery": chance.choice([None, delivery, delivery]),
        "has_lines": next(iter(message["to"])) not in COUNTED and chance.random() < 0.9,
        "waits": chance.choice([None, True, False]),
        "is_member": chance.choice([None, True, False]),
        "bans": [
            {**ban, "until": chance.choice(times)}
            for ban in chance.sample(bans, chance.choice([0, 1]))
        ],
        "now": NOW,
    }


def reasons_of_the_console(all_facts: list[dict[str, Any]]) -> list[list[str]]:
    """The reason of each, and of its message alone, by the modules of the console."""
    node = shutil.which("node")
    assert node, "node runs the console's modules"
    asked = [
        {
            **facts,
            "delivery": facts["delivery"] if facts["has_lines"] else None,
            "isMember": facts["is_member"],
        }
        for facts in all_facts
    ]
    program = f"""
    import {{ explain, explainMessage }} from "{CONSOLE / "lib" / "why.js"}";
    let text = "";
    for await (const piece of process.stdin) text += piece;
    const said = JSON.parse(text).map((facts) => {{
      if (!facts.has_lines) facts.delivery = undefined;
      return [explain(facts).reason, explainMessage(facts.message, facts.now).reason];
    }});
    process.stdout.write(JSON.stringify(said));
    """
    done = subprocess.run(
        [node, "--input-type=module", "-e", program],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said: list[list[str]] = json.loads(done.stdout)
    return said


def test_pushctl_and_the_console_give_the_same_reason() -> None:
    chance = random.Random(1)
    all_facts = [any_facts(chance) for _ in range(COUNT)]
    ours = []
    for facts in all_facts:
        known = facts if facts["has_lines"] else {**facts, "delivery": None}
        read = msgspec.convert(known, Facts)
        ours.append([reason_of(read), outcome_of(read.message, NOW)])
    theirs = reasons_of_the_console(all_facts)
    differ = [(f, a, b) for f, a, b in zip(all_facts, ours, theirs, strict=True) if a != b]
    assert differ[:1] == []
    assert len({reason for reason, _ in ours}) > 25, "the facts have most of them"


def test_each_reason_has_a_sentence_and_every_name_in_it_is_known() -> None:
    from push.pushctl.commands.operate import tracing

    source = Path(tracing.__file__).read_text()
    texts = json.loads((CONSOLE / "en.json").read_text())
    chance = random.Random(2)
    seen = {
        reason_of(
            msgspec.convert(facts if facts["has_lines"] else {**facts, "delivery": None}, Facts)
        )
        for facts in (any_facts(chance) for _ in range(COUNT))
    }
    for reason in seen:
        assert list(sentences(reason, {})), reason
        for key in (f"why.{reason}", f"why.{reason}.do"):
            for name in re.findall(r"\{(\w+)\}", texts.get(key, "")):
                assert f'"{name}"' in source, f"{key} has {{{name}}}"
