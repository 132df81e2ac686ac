"""What pieces of work cost, in counts that do not depend on the machine.

python -m tests.budget              every figure beside its budget
python -m tests.budget --print      lines for tests/budget/budgets.py
python -m tests.budget --write      … written there
"""

from __future__ import annotations

import argparse
import sys

from tests.budget.measuring import Figure, measured
from tests.budget.table import as_source, markdown, printed, write


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.budget",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--print", action="store_true", help="print lines for budgets.py")
    parser.add_argument("--write", action="store_true", help="write them there")
    parser.add_argument("--markdown", action="store_true", help="tables of docs/performance.md")
    options = parser.parse_args()
    if options.markdown:
        print(markdown())
        return
    figures: list[Figure] = []
    for figure in measured():
        figures.append(figure)
        print(f"{figure.work}: {figure.what}", file=sys.stderr, flush=True)
    print(as_source(figures) if options.print else printed(figures))
    if options.write:
        write(figures)


if __name__ == "__main__":
    main()
