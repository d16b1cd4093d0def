"""What choosing on query labels is worth on pure noise, and on a weak signal; what choosing and fusing inside is not.

Nine layers of independent noise, ten shots, many draws: AUROC under ``fixed``, ``support-cv`` and ``oracle``, and of
one head over all nine, through ``fewshot adapt`` itself. Prints a table and, last, one JSON line; ``--docs`` writes a
page and a figure.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import integrate, stats

from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.fiser import adapt
from fewshot.results.row import FUSED
from fewshot.results.tables import text_table

LAYERS = 9
SELECTIONS = ("fixed", "support-cv", "oracle")
MEASURED = (*SELECTIONS, FUSED)


@dataclass(frozen=True)
class Finding:
    """One setting: mean AUROC over repetitions by selection, with standard errors, and what theory says of oracle."""

    name: str
    query: int
    mean: dict[str, float]
    error: dict[str, float]
    predicted: float | None


def expected_maximum(count: int) -> float:
    """Return the mean of the largest of ``count`` standard normals (1.485 for nine)."""
    value, _ = integrate.quad(lambda x: x * count * stats.norm.pdf(x) * stats.norm.cdf(x) ** (count - 1), -12, 12)
    return float(value)


def null_deviation(per_class: int) -> float:
    """Return the standard deviation of the AUROC of noise with ``per_class`` images a side."""
    return float(np.sqrt((2 * per_class + 1) / (12 * per_class * per_class)))


def store(path: Path, *, query: int, shots: int, signal: float, seed: int) -> Path:
    """Write a store of nine independent layers over 2 (query + shots) images."""
    generator = np.random.default_rng(seed)
    images = 2 * (query + shots)
    synthetic = np.arange(images) % 2 == 1
    samples = pd.DataFrame(
        {
            "key": [str(row) for row in range(images)],
            "source": np.where(synthetic, "generator", "natural"),
            "synthetic": synthetic,
        }
    )
    layers = []
    for number in range(LAYERS):
        features = generator.normal(size=(images, 16)).astype(np.float32)
        features[:, 0] += np.where(synthetic, signal, -signal)
        layers.append(LayerData("noise", f"layer{number}", features, default=number == 4))
    write_store(path, samples, layers)
    return path


def measure(*, name: str, query: int, signal: float, repetitions: int, trials: int, shots: int, seed: int) -> Finding:
    """Run the protocol on ``repetitions`` independent stores."""
    found: dict[str, list[float]] = {name: [] for name in MEASURED}
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(repetitions):
            path = store(Path(folder) / "noise.h5", query=query, shots=shots, signal=signal, seed=[seed, repetition])  # type: ignore[arg-type]
            options: dict[str, Any] = {"shots": shots, "trials": trials, "seed": repetition, "head": "svm"}
            report = adapt(path, layer=("support-cv", "oracle"), **options)
            for selection in SELECTIONS:
                (row,) = report.where(selection=selection, source="all", metric="auroc")
                found[selection].append(float(np.mean(row.values)))
            fused = adapt(path, layer="all", fuse="kernel", **options)
            (row,) = fused.where(backbone=FUSED, source="all", metric="auroc")
            found[FUSED].append(float(np.mean(row.values)))
    mean = {selection: float(np.mean(values)) for selection, values in found.items()}
    error = {key: float(np.std(values, ddof=1) / np.sqrt(repetitions)) for key, values in found.items()}
    predicted = 0.5 + null_deviation(query) * expected_maximum(LAYERS) if signal == 0 else None
    return Finding(name, query, mean, error, predicted)


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as text."""
    header = ["features", "query per class", *MEASURED, "oracle predicted"]
    lines = []
    for one in findings:
        cells = [f"{one.mean[key]:.4f} ({one.error[key]:.4f})" for key in MEASURED]
        lines.append([one.name, str(one.query), *cells, "" if one.predicted is None else f"{one.predicted:.4f}"])
    return text_table(header, lines)


def figure(findings: Sequence[Finding], path: Path) -> None:
    """Draw the three selections and the fused head over the settings, with two standard errors, and the prediction."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7, 3.6), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    places = np.arange(len(findings))
    for number, selection in enumerate(MEASURED):
        mean = [one.mean[selection] for one in findings]
        error = [2 * one.error[selection] for one in findings]
        axes.errorbar(places + 0.15 * (number - 1), mean, yerr=error, fmt="o", capsize=3, label=selection)
    for place, one in zip(places, findings, strict=True):
        if one.predicted is not None:
            axes.plot([place - 0.3, place + 0.3], [one.predicted] * 2, "k--", lw=1)
    axes.axhline(0.5, color="grey", lw=0.8)
    axes.set_xticks(places, [f"{one.name}\n{one.query} a class" for one in findings])
    axes.set_ylabel("mean AUROC (bars: 2 s.e.)")
    axes.legend()
    drawing.savefig(path, dpi=140)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--docs", type=Path)
    options = parser.parse_args()
    settings = [("noise", 100, 0.0), ("noise", 1000, 0.0), ("weak signal", 100, 0.25), ("weak signal", 1000, 0.25)]
    findings = [
        measure(
            name=name,
            query=query,
            signal=signal,
            repetitions=options.repetitions,
            trials=options.trials,
            shots=10,
            seed=number,
        )
        for number, (name, query, signal) in enumerate(settings)
    ]
    print(table(findings))
    if options.docs:
        options.docs.mkdir(parents=True, exist_ok=True)
        figure(findings, options.docs / "leakage.png")
        (options.docs / "leakage.md").write_text(PAGE.format(table=table(findings), **vars(options)), encoding="utf-8")
    print(json.dumps([vars(one) for one in findings]))


PAGE = """\
# What choosing on query labels is worth

Made by `make experiments` (`benchmarks/leakage.py`): nine layers of independent features, 16 dimensions, an RBF SVM on
10 + 10 images, {trials} draws on each of {repetitions} independent sets of images; mean AUROC, in brackets its standard
error over the sets.

```
{table}
```

![AUROC by selection](leakage.png)

On noise nothing can be learnt and the true AUROC is 0.5. `fixed`, `support-cv` and one head `fused` of all nine layers,
weighed inside the support, stay there. `oracle` rises to the
expected maximum of nine independent AUROCs, 0.5 + 1.485 sqrt((n0 + n1 + 1) / (12 n0 n1)) (dashed; the support adds next
to nothing), and falls back as the query grows. With a weak signal in every layer it does not: what is chosen then is
the layer on which *this* support happens to work, and no number of query images takes that away.
"""


if __name__ == "__main__":
    main()
