"""Figures of rounds, and the Markdown tables that they become."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OURS = "push-universe"
Figures = Mapping[str, float | None]


@dataclass
class Results:
    """Every figure of every round, by case and by server; and what went wrong."""

    rounds: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, case: str, server: str, figures: Figures) -> None:
        self.rounds.setdefault(case, {}).setdefault(server, []).append(figures)

    def values(self, case: str, server: str, figure: str) -> list[float]:
        rounds = self.rounds.get(case, {}).get(server, [])
        return [value for row in rounds if (value := row.get(figure)) is not None]

    def median(self, case: str, server: str, figure: str) -> float | None:
        values = self.values(case, server, figure)
        return statistics.median(values) if values else None

    def ratio(self, case: str, figure: str, server: str, other: str) -> float | None:
        """The median of the ratios of the same round."""
        pairs = zip(
            self.values(case, server, figure), self.values(case, other, figure), strict=False
        )
        ratios = [mine / theirs for mine, theirs in pairs if theirs]
        return statistics.median(ratios) if ratios else None


@dataclass(frozen=True)
class Table:
    """Rows are servers. `columns`: a heading and the name of a figure; the first is the one that is
    compared. `yardstick`: a server to which all are compared."""

    case: str
    title: str
    columns: Sequence[tuple[str, str]]
    yardstick: str = ""

    def markdown(self, results: Results) -> str:
        servers = results.rounds.get(self.case, {})
        head = ["server", *(heading for heading, _ in self.columns)]
        has_yardstick = self.yardstick in servers
        if has_yardstick:
            head.append(f"to {self.yardstick}")
        has_others = OURS in servers and len(servers) > 1
        if has_others:
            head.append(f"{OURS} is")
        rows = [self._row(results, server, has_yardstick, has_others) for server in servers]
        return _markdown(self.title, head, rows)

    def _row(
        self, results: Results, server: str, has_yardstick: bool, has_others: bool
    ) -> list[str]:
        first = self.columns[0][1]
        cells = [server]
        for _, figure in self.columns:
            values = results.values(self.case, server, figure)
            text = number(statistics.median(values)) if values else "–"
            if figure == first and len(values) > 1:
                text += f" ({number(min(values))} to {number(max(values))})"
            cells.append(text)
        if has_yardstick:
            cells.append(_ratio(results.ratio(self.case, first, server, self.yardstick)))
        if has_others:
            ours = results.ratio(self.case, first, OURS, server)
            cells.append("" if server == OURS else _ratio(ours))
        return cells


@dataclass(frozen=True)
class FigureTable:
    """Rows are figures of one server, for what has no peer; `most`: how large one may be."""

    case: str
    title: str
    most: Mapping[str, float] = field(default_factory=dict)

    def markdown(self, results: Results) -> str:
        rows = []
        for server, rounds in results.rounds.get(self.case, {}).items():
            for figure in rounds[0]:
                value = results.median(self.case, server, figure)
                bound = number(self.most[figure]) if figure in self.most else ""
                rows.append([figure.replace("_", " "), number(value), bound])
        head = ["figure", "value", *(["at most"] if self.most else [])]
        return _markdown(self.title, head, [row[: len(head)] for row in rows])

    def check(self, results: Results) -> None:
        """Keeps a problem for each figure over its bound."""
        for figure, most in self.most.items():
            value = results.median(self.case, OURS, figure)
            if value is not None and value > most:
                results.problems.append(f"{self.case}: {figure} is {number(value)}, not {most:g}")


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{number(value)} times"


def _markdown(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join([f"### {title}", "", *("| " + " | ".join(line) + " |" for line in lines), ""])
