"""The ``.npz`` of kept scores beside a report, and files of supports."""

import json
from pathlib import Path

import numpy as np

from fewshot.protocols.trials.support_lists import read_supports
from fewshot.results.report import Report
from fewshot.results.scores import kept_of_draws, save_scores, scores_beside
from tests.hostile.doors.reports import GOLDEN

REPORT = GOLDEN / "before_rooms/adapt.json"


def originals(folder: Path) -> list[Path]:
    scores = folder / "scores.npz"
    scores.write_bytes(REPORT.with_suffix(".npz").read_bytes())
    plain = folder / "plain.npz"
    with plain.open("wb") as stream:
        np.savez(stream, **dict(np.load(scores)))
    (folder / "supports.json").write_text(json.dumps([["a.png", "b.png"], ["c.png", "d.png"]]))
    (folder / "named.json").write_text(json.dumps({"0": ["a.png", "b.png"]}))
    (folder / "lines.txt").write_text("a.png\nb.png\n")
    save_scores(folder / "large.npz", {"query": np.ones((3, 4), bool), "source": np.array(["a", "bb"])})
    return sorted(path for path in folder.iterdir())


def enter(path: Path) -> None:
    if path.suffix != ".npz":
        read_supports(path)
        return
    arrays = scores_beside(path)
    for row in Report.load(REPORT).rows:
        kept = kept_of_draws(row, arrays)
        if kept is not None and row.source not in ("all", "macro"):
            kept.against(row.source)
