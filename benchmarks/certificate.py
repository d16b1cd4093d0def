"""How often the certificate of ``fewshot fit`` is broken, by simulation and on real images.

Every simulated fit draws a support of ten images a class (Gaussians in 64 dimensions), fits a head, and draws its
calibration naturals from a fixed population of images, so that the false-alarm rate on that population is known
exactly. Prints tables and, last, one JSON line; ``--docs`` writes a page with its figure, ``--data`` and ``--weights``
add real images.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray, IntArray
from fewshot.detector.certificate import allowed_beyond, certify, risk
from fewshot.detector.cross_validation import left_out_scores
from fewshot.heads.base import HEADS, Head
from fewshot.results.tables import text_table

DIMENSION, SHOTS, APART = 64, 10, 4.0
POPULATION, CANDIDATES = 2000, 500
CELLS = ((59, 0.05), (100, 0.05), (299, 0.01), (500, 0.05))
HEAD_NAMES = ("svm", "logistic", "prototype", "knn")
DISTRIBUTIONS = ("normal", "heavy tail", "few values")
BLOCK = 200  # fits at a time


@dataclass(frozen=True)
class Cell:
    """What became of the certificates of one kind of scores and one number of calibration naturals.

    Args:
        scores: a head's name, or a distribution; images: calibration naturals; share: what was promised.
        rates: (F,) the true false-alarm rate of each fit.
    """

    scores: str
    images: int
    share: float
    rates: Float64Array

    @property
    def broken(self) -> float:
        """Share of fits whose true false-alarm rate is above the one that was promised."""
        return float((self.rates > self.share).mean())

    @property
    def expected(self) -> float:
        """The share for scores without ties: P(Binomial(images, share) <= k)."""
        return risk(self.images, allowed_beyond(self.images, self.share) or 0, self.share)


def drawn(generator: np.random.Generator, name: str, count: int) -> Float64Array:
    """Return (count,) scores of a distribution: without ties, with a heavy tail, or of twelve values only."""
    if name == "few values":
        return generator.integers(0, 12, size=count).astype(float)
    return generator.standard_cauchy(count) if name == "heavy tail" else generator.normal(size=count)


def rates_of(population: FloatArray, generator: np.random.Generator, *, images: int, share: float) -> Float64Array:
    """Return (F,) true false-alarm rates of thresholds, each certified on images drawn from its population.

    Args:
        population: (F, P) scores of all naturals there are, one row for each fit.
    """
    found = np.empty(len(population))
    for number, scores in enumerate(population):
        threshold = certify(scores[generator.integers(0, len(scores), images)], share)
        assert threshold is not None
        found[number] = (scores > threshold.value).mean()
    return found


def of_distributions(fits: int) -> list[Cell]:
    """Return the cells of scores that no head made."""
    cells = []
    for number, name in enumerate(DISTRIBUTIONS):
        generator = np.random.default_rng([1, number])
        population = np.broadcast_to(drawn(generator, name, POPULATION), (fits, POPULATION))
        cells += [Cell(name, n, share, rates_of(population, generator, images=n, share=share)) for n, share in CELLS]
    return cells


@dataclass(frozen=True)
class World:
    """Images as features: naturals of the traffic, and candidates for supports.

    Args:
        features: (N, D) float32, the population first; synthetic: (N,) bool.
    """

    features: FloatArray
    synthetic: np.ndarray

    @classmethod
    def drawn(cls, generator: np.random.Generator) -> "World":
        """Return a new world; synthetic images lie ``APART`` from natural ones."""
        synthetic = np.repeat([False, False, True], [POPULATION, CANDIDATES, CANDIDATES])
        features = generator.normal(size=(len(synthetic), DIMENSION))
        features[:, 0] += APART * synthetic
        return cls(features.astype(np.float32), synthetic)

    def supports(self, generator: np.random.Generator, fits: int) -> IntArray:
        """(F, 2 * SHOTS) rows among the candidates, naturals first."""
        natural, synthetic = (
            np.argsort(generator.random((fits, CANDIDATES)), axis=1)[:, :SHOTS] + start
            for start in (POPULATION, POPULATION + CANDIDATES)
        )
        return np.concatenate([natural, synthetic], axis=1)


@dataclass(frozen=True)
class OtherThresholds:
    """Mean true false-alarm rates of thresholds that promise nothing, and of one fit in twenty the least.

    Args:
        own: of the highest score of the support's own naturals; left_out: of those that were left out in turn.
    """

    head: str
    own: float
    left_out: float
    left_out_worst: float


def of_head(name: str, *, fits: int, estimates: int) -> tuple[list[Cell], OtherThresholds]:
    """Fit a head on many supports and certify each on calibration sets of every size."""
    head: Head = HEADS.load(name)()
    generator = np.random.default_rng([2, HEAD_NAMES.index(name)])
    world = World.drawn(generator)
    supports = world.supports(generator, fits)
    rates: dict[tuple[int, float], list[Float64Array]] = {cell: [] for cell in CELLS}
    own: list[Float64Array] = []
    left_out: list[float] = []
    for start in range(0, fits, BLOCK):
        block = supports[start : start + BLOCK]
        scores = np.asarray(head.score_draws(world.features, world.synthetic, block), dtype=np.float64)
        population = scores[:, :POPULATION]
        for n, share in CELLS:
            rates[n, share].append(rates_of(population, generator, images=n, share=share))
        highest = np.take_along_axis(scores, block[:, :SHOTS], 1).max(axis=1, keepdims=True)
        own.append((population > highest).mean(axis=1))
        for support, row in zip(block[: max(0, estimates - start)], population, strict=False):
            apart = left_out_scores(head, world.features[support], world.synthetic[support])
            left_out.append(float((row > apart[:SHOTS].max()).mean()))
    cells = [Cell(name, n, share, np.concatenate(rates[n, share])) for n, share in CELLS]
    worst = float(np.quantile(left_out, 0.95))
    return cells, OtherThresholds(name, float(np.concatenate(own).mean()), float(np.mean(left_out)), worst)


@dataclass(frozen=True)
class OnImages:
    """What became of certificates on real images: fit on some, certify on a half of the rest, count on the other.

    Args:
        traffic: whose rate was measured; images: calibration naturals, counted: naturals of the other half.
        mean: rate; broken: share of fits above what was promised; predicted: of ``broken``, for halves of one kind.
    """

    traffic: str
    images: int
    counted: int
    share: float
    mean: float
    broken: float
    predicted: float | None


def on_images(data: Path, weights: Path, *, fits: int, share: float = 0.1) -> list[OnImages]:
    """Resample real images: ``sd3`` against ``imagenet``, with ``bsds500`` as traffic of another kind."""
    from fewshot.embeddings.extract import embed

    name = "torchvision:mobilenet_v2"
    with TemporaryDirectory() as folder:
        store = embed(
            data / "native",
            backbones=name,
            weights={name: weights / "mobilenet_v2-b0353104.pth"},
            out=Path(folder) / "a.h5",
        )
        layer = store.default_layer(name)
        rows = {source: np.flatnonzero(store.source == source) for source in ("imagenet", "bsds500", "sd3")}
        wanted = np.concatenate(list(rows.values())).astype(np.int64)
        features = store.read(wanted, name, layer)
        source, synthetic = store.source[wanted], store.synthetic[wanted]
    head: Head = HEADS.load("svm")()
    prepared = head.prepare({"clean": features}, normalised=False)
    return _resampled(head, prepared, source, synthetic, fits=fits, share=share)


def _resampled(
    head: Head, features: FloatArray, source: np.ndarray, synthetic: np.ndarray, *, fits: int, share: float
) -> list[OnImages]:
    generator = np.random.default_rng(3)
    own, other, fakes = (np.flatnonzero(source == name) for name in ("imagenet", "bsds500", "sd3"))
    # Two thirds of the naturals are left to certify and to count, after a support of ten.
    orders = np.stack([generator.permutation(own) for _ in range(fits)])
    supports = np.concatenate(
        [orders[:, :SHOTS], np.stack([generator.permutation(fakes)[:SHOTS] for _ in range(fits)])], axis=1
    )
    half = SHOTS + (len(own) - SHOTS) * 3 // 5
    same, elsewhere = [], []
    for start in range(0, fits, BLOCK):
        scores = head.score_draws(features, synthetic, supports[start : start + BLOCK])
        for order, row in zip(orders[start : start + BLOCK], np.asarray(scores), strict=True):
            threshold = certify(row[order[SHOTS:half]], share)
            assert threshold is not None
            same.append(float((row[order[half:]] > threshold.value).mean()))
            elsewhere.append(float((row[other] > threshold.value).mean()))
    calibration, counted = half - SHOTS, len(own) - half
    predicted = _broken_by_chance(calibration, counted, share)
    return [
        _on("imagenet, the other part", calibration, counted, share, same, predicted),
        _on("bsds500", calibration, len(other), share, elsewhere, None),
    ]


def _on(
    traffic: str, images: int, counted: int, share: float, rates: Sequence[float], predicted: float | None
) -> OnImages:
    found = np.array(rates)
    return OnImages(traffic, images, counted, share, float(found.mean()), float((found > share).mean()), predicted)


def _broken_by_chance(images: int, counted: int, share: float) -> float:
    """Return how often more than ``share`` of ``counted`` further images like them lie beyond (beta-binomial)."""
    from scipy.stats import betabinom

    k = allowed_beyond(images, share) or 0
    return float(betabinom.sf(np.floor(share * counted), counted, k + 1, images - k))


def figure(cells: Sequence[Cell], path: Path) -> None:
    """Draw the share of broken certificates by kind of scores, with two standard errors, under the 5 % allowed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7.5, 3.6), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    names = list(dict.fromkeys(cell.scores for cell in cells))
    for number, (images, share) in enumerate(CELLS):
        own = [cell for cell in cells if (cell.images, cell.share) == (images, share)]
        broken = np.array([100 * cell.broken for cell in own])
        error = [200 * np.sqrt(cell.broken * (1 - cell.broken) / len(cell.rates)) for cell in own]
        places = np.array([names.index(cell.scores) for cell in own]) + 0.15 * (number - 1.5)
        label = f"{images} naturals for {100 * share:g} %"
        axes.errorbar(places, broken, yerr=error, fmt="o", markersize=4, capsize=3, label=label)
    axes.axhline(5, color="black", lw=1, linestyle="--")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("fits above the promised rate, %")
    axes.legend(fontsize=8, ncols=2)
    drawing.savefig(path, dpi=140)


def table(cells: Sequence[Cell]) -> str:
    """Return the table of simulated certificates."""
    header = ["scores", "naturals", "promised", "mean rate", "above it", "by theory"]
    lines = [
        [
            cell.scores,
            str(cell.images),
            f"{100 * cell.share:g} %",
            f"{100 * cell.rates.mean():.2f} %",
            f"{100 * cell.broken:.1f} %",
            f"{100 * cell.expected:.1f} %",
        ]
        for cell in cells
    ]
    return text_table(header, lines)


def others_table(others: Sequence[OtherThresholds]) -> str:
    """Return the table of thresholds that promise nothing."""
    header = ["head", "own scores, mean", "left out, mean", "left out, 95 % quantile"]
    lines = [
        [each.head, *(f"{100 * rate:.1f} %" for rate in (each.own, each.left_out, each.left_out_worst))]
        for each in others
    ]
    return text_table(header, lines)


def images_table(found: Sequence[OnImages]) -> str:
    """Return the table of certificates on real images."""
    header = ["traffic", "calibrated on", "counted on", "promised", "mean rate", "above it", "if alike"]
    lines = [
        [
            each.traffic,
            str(each.images),
            str(each.counted),
            f"{100 * each.share:g} %",
            f"{100 * each.mean:.1f} %",
            f"{100 * each.broken:.1f} %",
            "" if each.predicted is None else f"{100 * each.predicted:.1f} %",
        ]
        for each in found
    ]
    return text_table(header, lines)


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description="How often the certificate of `fewshot fit` is broken.")
    parser.add_argument("--fits", type=int, default=2000)
    parser.add_argument("--estimates", type=int, default=200, help="fits whose left-out estimate is made as well")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--docs", type=Path)
    options = parser.parse_args()
    cells, others = of_distributions(options.fits), []
    for name in HEAD_NAMES:
        of_this, other = of_head(name, fits=options.fits, estimates=options.estimates)
        cells += of_this
        others.append(other)
        print(json.dumps(vars(other)), flush=True)
    real = on_images(options.data, options.weights, fits=options.fits) if options.data and options.weights else []
    texts = {"table": table(cells), "others": others_table(others), "images": images_table(real) if real else NONE}
    print("\n\n".join(texts.values()))
    if options.docs:
        options.docs.mkdir(parents=True, exist_ok=True)
        figure(cells, options.docs / "certificate.png")
        page = PAGE.format(fits=options.fits, estimates=options.estimates, **texts)
        (options.docs / "certificate.md").write_text(page, encoding="utf-8")
    summary: list[Mapping[str, object]] = [{**vars(cell), "rates": cell.broken} for cell in cells]
    print(json.dumps(summary))


NONE = "(made without the images: give --data and --weights)"
PAGE = """\
# How often the certificate is broken

Made by `make experiments` (`benchmarks/certificate.py`): {fits} simulated fits per line. Each draws a support of
10 + 10 images (Gaussians in 64 dimensions), fits a head on it, draws calibration naturals from a fixed population of
2,000 images and takes the threshold that `fewshot fit` would take; the first lines leave the head out and draw scores
from a distribution. The false-alarm rate on that population is then counted, not estimated. "Above it" is the share of
fits whose rate is above the promised one: at most 5 % is allowed, and with 2,000 fits 5 % is seen as 4 to 6 %.

```
{table}
```

![Share of fits above the promised false-alarm rate](certificate.png)

"By theory" is what scores without ties give, P(Binomial(n, promised) <= k). It is the step from k to k + 1 allowed
false alarms that leaves it under 5 %. Ties only make the certificate safer: an image that scores exactly the threshold
is not flagged.

## Thresholds that promise nothing

The same fits with the threshold at the highest score of the support's own naturals, and at the highest of those that
were left out in turn ({estimates} fits): the false-alarm rates that such thresholds really have.

```
{others}
```

A head fits its own support: its naturals score lower than any other natural image, the more so the more dimensions
there are, and a threshold from them flags most of the traffic. `fewshot fit` never takes it. Left-out scores are not
shifted like that: ten naturals give a rate of about 1 / 11 on average. But one fit in twenty is at or above
the last column, which is why it is called an estimate and promises nothing.

## On real images

Supports of 10 `sd3` and 10 `imagenet` images, `torchvision:mobilenet_v2` and an RBF SVM; three fifths of the other
`imagenet` images certify 10 %, and the rate is counted on the rest, {fits} times. "If alike" is how often so few
counted images exceed the promise when both parts are of one kind (beta-binomial); it is no 5 %, because a rate that is
counted on a few images scatters around the true one.

```
{images}
```

`bsds500` images are photographs, too, but not like those that certified. For them the promise is broken far more often
than in 5 of 100 fits, and nothing in the calibration images could have shown it: traffic must resemble the calibration
naturals.
"""

if __name__ == "__main__":
    main()
