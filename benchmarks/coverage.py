"""How often the intervals that we print cover what they are meant for, by simulation.

Scores of a fitted head are drawn from a model with three sources of variation: the support (shared by all images of a
trial), the images (shared by all trials) and both. Prints tables and, last, one JSON line; ``--docs`` writes a page.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from fewshot.metrics import auroc
from fewshot.statistics import delong_interval, mean_interval, two_way_bootstrap
from fewshot.tables import text_table


@dataclass(frozen=True)
class Model:
    """score = strength of the trial x class + image + noise; AUROC of a trial = Phi(strength / sqrt(2) / spread)."""

    separation: float
    trial_deviation: float
    image_deviation: float
    noise_deviation: float

    def strengths(self, generator: np.random.Generator, trials: int) -> np.ndarray:
        """(T,) separations of the trials."""
        return self.separation + self.trial_deviation * generator.normal(size=trials)

    def scores(
        self, generator: np.random.Generator, strengths: np.ndarray, images: np.ndarray, synthetic: np.ndarray
    ) -> np.ndarray:
        """(T, n) scores."""
        noise = self.noise_deviation * generator.normal(size=(len(strengths), len(images)))
        return strengths[:, None] * synthetic + images + noise

    def images(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """(n,) what all trials see alike in an image."""
        return self.image_deviation * generator.normal(size=count)

    def truth(self, strengths: np.ndarray | None = None) -> float:
        """The mean AUROC over all trials and images, or of given trials over all images."""
        spread = np.sqrt(2 * (self.image_deviation**2 + self.noise_deviation**2))
        if strengths is None:
            return float(stats.norm.cdf(self.separation / np.sqrt(spread**2 + self.trial_deviation**2)))
        return float(stats.norm.cdf(strengths / spread).mean())


def trials_coverage(model: Model, *, trials: int, per_class: int, repetitions: int, seed: int) -> float:
    """Student's interval against the mean over draws on fixed images, which a thousand further draws tell."""
    generator = np.random.default_rng(seed)
    synthetic = np.repeat([0, 1], per_class)
    covered = 0
    for _ in range(repetitions):
        images = model.images(generator, 2 * per_class)
        many = auroc(model.scores(generator, model.strengths(generator, 1000), images, synthetic), synthetic == 1)
        few = auroc(model.scores(generator, model.strengths(generator, trials), images, synthetic), synthetic == 1)
        interval = mean_interval(few)
        covered += interval.low <= many.mean() <= interval.high
    return covered / repetitions


def delong_coverage(model: Model, *, per_class: int, repetitions: int, seed: int) -> float:
    """DeLong's interval of one trial against that trial's AUROC over all images; no interval counts as a miss."""
    generator = np.random.default_rng(seed)
    synthetic = np.repeat([0, 1], per_class)
    covered = 0
    for _ in range(repetitions):
        strength = model.strengths(generator, 1)
        scores = model.scores(generator, strength, model.images(generator, 2 * per_class), synthetic)[0]
        interval = delong_interval(scores[:per_class], scores[per_class:])
        covered += interval.low <= model.truth(strength) <= interval.high
    return covered / repetitions


def two_way_coverage(model: Model, *, trials: int, per_class: int, repetitions: int, seed: int) -> float:
    """The two-way bootstrap against the mean over all draws and images."""
    generator = np.random.default_rng(seed)
    synthetic = np.repeat([False, True], per_class)
    covered = 0
    for repetition in range(repetitions):
        images = model.images(generator, 2 * per_class)
        scores = model.scores(generator, model.strengths(generator, trials), images, synthetic)
        interval = two_way_bootstrap(scores, np.ones_like(scores, bool), synthetic, seed=repetition, resamples=300)
        covered += interval.low <= model.truth() <= interval.high
    return covered / repetitions


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=600)
    parser.add_argument("--two-way-repetitions", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 100, 300])
    parser.add_argument("--docs", type=Path)
    options = parser.parse_args()
    rows = []
    for separation, name in ((1.0, "0.75"), (2.4, "0.95"), (4.0, "0.997")):
        model = Model(separation, 0.3, 0.7, 0.7)
        for size in options.sizes:
            repeated = {"per_class": size, "repetitions": options.repetitions, "seed": size}
            few, many = (trials_coverage(model, trials=trials, **repeated) for trials in (10, 100))
            one = delong_coverage(model, **repeated)
            both = two_way_coverage(
                model, trials=50, per_class=size, repetitions=options.two_way_repetitions, seed=size
            )
            truth = model.truth()
            rows.append([name, f"{truth:.4f}", size, few, many, one, both])
    header = [
        "AUROC about",
        "exactly",
        "images a class",
        "t, 10 trials",
        "t, 100 trials",
        "DeLong, 1 trial",
        "two-way, 50 trials",
    ]
    lines = [[str(cell) if not isinstance(cell, float) else f"{100 * cell:.1f}%" for cell in row] for row in rows]
    text = text_table(header, lines)
    print(text)
    if options.docs:
        options.docs.mkdir(parents=True, exist_ok=True)
        (options.docs / "coverage.md").write_text(PAGE.format(table=text, **vars(options)), encoding="utf-8")
    print(json.dumps([dict(zip(header, row, strict=True)) for row in rows]))


PAGE = """\
# How often the intervals cover

Made by `make experiments` (`benchmarks/coverage.py`): {repetitions} simulated experiments per cell
({two_way_repetitions} for the two-way bootstrap, whose cells carry a standard error of about 1.5 points). Every
interval claims 95 %.

```
{table}
```

- **t** is Student's interval of the mean over trials. It is asked to cover the mean over all draws *on these images*.
- **DeLong** is the interval of one fitted head over further images, on the logit scale.
- **two-way** resamples draws and images; it is asked to cover the mean over all draws and all images.

The truth of the t columns is itself the mean of 1,000 further draws, whose error lowers the 100-trial column by
about one point. With 400 experiments a cell carries a standard error of about 1.1 points.

What may be relied on: at an AUROC of about 0.75 all three cover 93 to 98 %; at 0.95 Student's interval covers 92
to 94 %, and the others fall a few points short with few images. Near 1 none of them keeps its promise (DeLong's
least of all: with 20 images a class it often has no interval to give); the report says so above a mean AUROC of
0.98.
"""


if __name__ == "__main__":
    main()
