"""The API keeps what its OpenAPI document says: schemathesis asks it, with a fixed seed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.running import started_server
from tests.amounts import amount

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = amount(3, 15)  # of each operation, beside those that go through the document's limits
PATIENCE_SECONDS = 600


def test_every_answer_is_as_the_document_says(tmp_path: Path) -> None:
    with started_server() as running:
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file",
            str(CONFIG),
        ]
        command += ["run", f"{running.http_url}/openapi.json", "--no-color", "--seed", "1"]
        command += ["--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing"]
        command += ["--continue-on-failure", "-H", f"Authorization: Bearer {running.admin_key}"]
        tested = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        log = running.log.read_text()

    assert tested.returncode == 0, tested.stdout[-8000:] + tested.stderr[-2000:]
    (operations,) = re.findall(r"^ +Tested: (\d+)$", tested.stdout, re.MULTILINE)
    assert int(operations) >= 50
    assert "Traceback" not in log
