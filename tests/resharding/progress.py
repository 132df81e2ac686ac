"""What `pushctl reshard` says beside its progress, of which a slow machine sees some."""

from __future__ import annotations

import re
import subprocess

_PROGRESS = re.compile(r"\d+ (keys looked at|devices prepared)|all is prepared and takes its place")


def without_progress(
    ran: subprocess.CompletedProcess[str],
) -> subprocess.CompletedProcess[str]:
    """`ran`, whose standard error has no lines about progress any more."""
    lines = ran.stderr.splitlines(keepends=True)
    ran.stderr = "".join(line for line in lines if not _PROGRESS.search(line))
    return ran
