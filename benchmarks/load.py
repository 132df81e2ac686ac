"""The load generator as a process: one for each server that is measured."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable
from typing import Any

from benchmarks import compiled

END_SECONDS = 120
Answer = dict[str, Any]


class Generator:
    """Asks it to do something, and gets figures. `on_problem` gets what was not as it should be."""

    def __init__(self, name: str, words: dict[str, object], on_problem: Callable[[str], None]):
        self._name = name
        self._on_problem = on_problem
        self._process = subprocess.Popen(
            [compiled.generator()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ask("setup", **words)

    def ask(self, command: str, **words: object) -> Answer:
        self.send(command, **words)
        return self.answer()

    def send(self, command: str, **words: object) -> None:
        """For several generators at once: their answers are taken afterwards."""
        assert self._process.stdin
        line = " ".join([command, *(f"{name}={value}" for name, value in words.items())])
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        self._command = line

    def answer(self) -> Answer:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._name}: the load generator ended at: {self._command}")
        answer: Answer = json.loads(line)
        for trouble in self._trouble(answer):
            self._on_problem(f"{self._name}, {self._command.split(' key=')[0]}: {trouble}")
        answer["server_cpu_s"] = sum(answer["cpu_s"])
        return answer

    @staticmethod
    def _trouble(answer: Answer) -> list[str]:
        """Work that was not done makes every figure worthless."""
        found = [str(answer["problem"])] if answer["problem"] else []
        found += [
            f"{answer[name]} {text}"
            for name, text in (
                ("lost", "sessions lost"),
                ("failed", "sessions not opened"),
                ("refused", "requests refused"),
                ("unequal", "subscribers with another number of messages"),
                ("without_stamp", "messages without the time of their publish"),
            )
            if answer.get(name)
        ]
        if "goal" in answer and answer["frames"] != answer["goal"]:
            found.append(f"{answer['frames']} messages came of {answer['goal']}")
        return found

    def close(self) -> None:
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
