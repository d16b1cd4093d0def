"""What a reader of the numbers must be told: duplicates, inverted labels, unsure intervals, oracles."""

from collections.abc import Sequence

import numpy as np

from fewshot.episodes import Draw
from fewshot.report import Row

SHIPPED = "shipped"  # the name of the checkpoint's own head in a report
INVERTED_BELOW = 0.4
NEAR_ONE = 0.98


def draw_caveats(draws: Sequence[Draw]) -> list[str]:
    """Return what the draws took out of the query."""
    notes = []
    duplicates = [drawn.duplicates for drawn in draws]
    relatives = [drawn.relatives for drawn in draws]
    if any(duplicates):
        notes.append(
            f"duplicates of support images (same pixels, or perceptual hash within 4 bits) left the query: "
            f"{np.mean(duplicates):.1f} a trial, at most {max(duplicates)}"
        )
    if any(relatives):
        notes.append(
            f"images that share a group with the support left the query: {np.mean(relatives):.1f} a trial, at most "
            f"{max(relatives)}"
        )
    return notes


def row_caveats(rows: Sequence[Row]) -> list[str]:
    """Return what is suspicious, unsure or not honest in the pooled rows."""
    notes = []
    for row in rows:
        mean = row.summary().mean
        if row.metric != "auroc" or row.source != "all" or np.isnan(mean):
            continue
        what = f"{row.backbone} {row.layer}, head {row.head}" + (f", {row.shots} shots" if row.shots else "")
        if mean < INVERTED_BELOW:
            notes.append(f"{what}: AUROC {mean:.3f} is far under 0.5; the labels are probably inverted (natural = 0)")
        if mean > NEAR_ONE and row.head != SHIPPED:
            notes.append(
                f"{what}: AUROC {mean:.3f} is so near 1 that its interval may cover less than 95 % "
                "(docs/experiments/coverage.md)"
            )
        if row.selection == "oracle":
            notes.append(f"{what}: chosen on query labels; what it promises cannot be had, read the fixed rows")
    return list(dict.fromkeys(notes))
