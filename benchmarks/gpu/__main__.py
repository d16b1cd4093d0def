"""Run every part, print the table as it grows, and write it as JSON into the folder ``GPU_OUT`` when that is set.

``python -m benchmarks.gpu`` from the root of a checkout; environment: ``DRY=1`` for the CPU and tiny sizes,
``WHEELS=FOLDER`` for packages that the machine lacks, ``GPU_OUT=FOLDER``, ``PARTS=a,b`` for some parts only. Needs the
standard library; the parts, in processes of their own, need torch and the project's other packages.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread, Timer
from typing import Any

from benchmarks.gpu.checkout import ROOT, importable
from benchmarks.gpu.line import Line

# Seconds each part may take on a card: 510 together.
LIMITS = {
    "card": 30,
    "parity": 110,
    "throughput": 130,
    "backoff": 30,
    "episodes": 50,
    "attribution": 50,
    "neighbours": 40,
    "processes": 60,
    "training": 10,
}
DRY_LIMIT = 300  # two busy cores


def run_part(name: str, environment: dict[str, str], *, seconds: float) -> dict[str, Any]:
    """Run one part, print its lines as they come, and return them; a part that ends badly keeps those it printed."""
    print(f"\n{name}", flush=True)
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu.part", name]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        lines, ended = follow(process, seconds=seconds)
    return {"part": name, "seconds": round(time.monotonic() - started, 1), "ended": ended, "lines": lines}


def follow(process: "subprocess.Popen[str]", *, seconds: float) -> tuple[list[dict[str, Any]], str]:
    """Read a part's lines until it ends or its time is over: (lines, "" or how it ended)."""
    late: list[bool] = []
    errors: list[str] = []

    def kill() -> None:
        late.append(True)
        os.killpg(process.pid, signal.SIGKILL)

    assert process.stdout is not None
    assert process.stderr is not None
    reader = Thread(target=lambda stream: errors.append(stream.read()), args=(process.stderr,), daemon=True)
    reader.start()
    timer = Timer(seconds, kill)
    timer.start()
    lines = []
    try:
        for text in process.stdout:
            line = Line.from_json(text)
            lines.append(json.loads(text))
            print(f"  {line}", flush=True)
        status = process.wait()
    finally:
        timer.cancel()
    reader.join(5)
    ended = "its time was over" if late else f"exit status {status}" if status else ""
    if ended:
        print(f"  FAILED: {ended}\n{''.join(errors)[-3000:]}", flush=True)
    return lines, ended


def failures(parts: list[dict[str, Any]]) -> list[str]:
    """Return what did not go well: parts that ended badly, and lines that missed what was wanted."""
    found = [f"{part['part']}: {part['ended']}" for part in parts if part["ended"]]
    return found + [
        f"{part['part']}: {line['what']}" for part in parts for line in part["lines"] if line["met"] is False
    ]


def main() -> int:
    """Run the parts; return 0 when each ended well and every bound was met (speed counts on a card only)."""
    dry = os.environ.get("DRY", "") not in ("", "0")
    wheels, out = (os.environ.get(name) or None for name in ("WHEELS", "GPU_OUT"))
    chosen = [name for name in (os.environ.get("PARTS") or ",".join(LIMITS)).split(",") if name]
    unknown = sorted(set(chosen) - set(LIMITS))
    if unknown:
        raise SystemExit(f"PARTS={','.join(unknown)}: the parts are {', '.join(LIMITS)}")
    parts: list[dict[str, Any]] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fewshot-gpu-") as folder:
        site = Path(folder) / "site"
        site.mkdir()
        environment = importable(site, wheels=Path(wheels).resolve() if wheels else None)
        environment |= {"DRY": "1" if dry else "", "TMPDIR": folder, "OMP_WAIT_POLICY": "PASSIVE", "TQDM_DISABLE": "1"}
        for name in chosen:
            parts.append(run_part(name, environment, seconds=DRY_LIMIT if dry else LIMITS[name]))
            if out:
                _write(Path(out), parts, dry=dry)
    wrong = failures(parts)
    print(f"\n{len(parts)} parts in {time.monotonic() - started:.0f} s; {len(wrong)} not as wanted")
    for what in wrong:
        print(f"  {what}")
    return 1 if wrong else 0


def _write(folder: Path, parts: list[dict[str, Any]], *, dry: bool) -> None:
    """Write the table so far, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "gpu.json.new"
    temporary.write_text(json.dumps({"dry": dry, "parts": parts}, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / "gpu.json")


if __name__ == "__main__":
    sys.exit(main())
