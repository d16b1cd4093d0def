"""A fair duel of few-shot methods: the same images, the same supports, the same queries, and what each method costs.

Every generator of a track is the new domain once: ten of its images and ten naturals are the support, its other images
and the other naturals the query. The remaining generators are the old domain: half of their images (and a third of the
naturals, which nobody draws or queries) are replay rows for the methods that ask for some, the other half is queried to
see what adaptation forgets. ``make duel`` runs it on ../shared/data and writes docs/experiments/duel.md.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.duel_methods import Method, methods_of
from benchmarks.results import embed
from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.trials.pool import EvaluationPool, load_pool
from fewshot.protocols.trials.supports import DrawRule, draw_trials
from fewshot.protocols.trials.trials import Trials
from fewshot.results.tables import text_table
from fewshot.solvers.view_distance import balanced_threshold
from fewshot.stats.intervals import Interval
from fewshot.stats.metrics import Ranked
from fewshot.stats.two_way import TrialMasks, two_way_bootstrap

TRACKS = ("native", "harmonised")
REPLAY_NATURALS, REPLAY_GENERATORS = 1 / 3, 1 / 2
FOLDS = 5
RESAMPLES = 200
REPLAYED_DRAWS = 12  # of methods that replay, which take seconds a fit


@dataclass(frozen=True)
class Roles:
    """What the images of a pool are for when one generator is new: (n,) bool each.

    Args:
        replay: old domain, at hand while adapting. new: the new generator and naturals, drawn and queried.
        old: old generators that are queried, against the same naturals.
    """

    replay: BoolArray
    new: BoolArray
    old: BoolArray

    @classmethod
    def of(cls, pool: EvaluationPool, target: str, seed: int) -> "Roles":
        """Deal the images whole groups at a time, so that no prompt or photograph stands on two sides."""
        images, share = pool.images, _share_of_group(pool, seed)
        other = images.synthetic & (images.source != target)
        replay = np.where(images.synthetic, other & (share < REPLAY_GENERATORS), share < REPLAY_NATURALS)
        naturals = ~images.synthetic & ~replay
        return cls(replay, naturals | (images.source == target), naturals | (other & ~replay))


@dataclass(frozen=True)
class Contest:
    """One method on one new domain.

    Args:
        method, target: who, and where.
        new: (T,) AUROC on the new domain; interval: over draws and images.
        old: (T,) AUROC on the old generators afterwards; forgotten: how much lower than before, (T,) or None.
        balanced: (T,) balanced accuracy at a threshold chosen in the support. recall: (T,) at 5 % false alarms.
        trained: numbers that a fit sets. seconds: of a processor, for one fit with the scores of all images.
    """

    method: Method
    target: str
    new: Float64Array
    interval: Interval
    old: Float64Array
    forgotten: float | None
    balanced: Float64Array
    recall: Float64Array
    support: int
    replay: int
    trained: int
    seconds: float


@dataclass(frozen=True)
class Arena:
    """One new domain: its trials and the roles of all images."""

    target: str
    trials: Trials
    roles: Roles

    @classmethod
    def of(cls, pool: EvaluationPool, target: str, *, shots: int, draws: int, seed: int) -> "Arena":
        roles = Roles.of(pool, target, seed)
        images = replace(pool.images, supports=roles.new, queries=roles.new | roles.old)
        return cls(target, draw_trials(replace(pool, images=images), DrawRule(shots, draws, seed)), roles)

    def contest(self, method: Method, *, shots: int, seed: int) -> Contest:
        """Fit the method on every support, and measure it on the new domain and on the old one."""
        features = method.features(self.trials.pool)
        if method.replays and len(self.trials) > REPLAYED_DRAWS:
            first = replace(self.trials, draws=self.trials.draws[:REPLAYED_DRAWS])
            return replace(self, trials=first).contest(method, shots=shots, seed=seed)
        started = time.process_time()
        scores = self._scores(method, features, self.trials.supports(shots))
        seconds = (time.process_time() - started) / len(self.trials)
        query = self.trials.query_mask()
        masks = TrialMasks(query & self.roles.new, self.trials.synthetic, self.trials.support_mask(shots))
        return Contest(
            method=method,
            target=self.target,
            new=self._auroc(scores, query & self.roles.new),
            interval=two_way_bootstrap(scores, masks, seed=seed, resamples=RESAMPLES),
            old=self._auroc(scores, query & self.roles.old),
            forgotten=self._forgotten(method, features, scores, query & self.roles.old),
            balanced=self._balanced(method, features, scores, masks.query, shots),
            recall=self._measure(scores, masks.query, "tpr_at_5_fpr"),
            support=len(self.trials.supports(shots)[0]),
            replay=int(self.roles.replay.sum()) if method.replays else 0,
            trained=method.trained(features, self.trials, self.trials.supports(shots)[0], self._replay),
            seconds=seconds,
        )

    def _scores(self, method: Method, features: FloatArray, supports: Sequence[IntArray]) -> FloatArray:
        """Return (T, n) scores; a method that replays sees the replay rows beside every support."""
        return method.scores(features, self.trials, np.stack(supports), self._replay)

    @property
    def _replay(self) -> IntArray:
        return np.flatnonzero(self.roles.replay)

    def _forgotten(self, method: Method, features: FloatArray, scores: FloatArray, query: BoolArray) -> float | None:
        """Return how much AUROC on the old generators the adaptation costs a method that knew them before."""
        before = method.before(features, self.trials, self._replay)
        if before is None:
            return None
        known = self._auroc(np.broadcast_to(before, scores.shape), query)
        return float(np.nanmean(known - self._auroc(scores, query)))

    def _auroc(self, scores: FloatArray, query: BoolArray) -> Float64Array:
        return self._measure(scores, query, "auroc")

    def _measure(self, scores: FloatArray, query: BoolArray, metric: str) -> Float64Array:
        synthetic = self.trials.synthetic
        return np.array(
            [
                Ranked.of(row[asked], synthetic[asked]).measure(metric, tpr="at-most")
                for row, asked in zip(scores, query, strict=True)
            ]
        )

    def _balanced(
        self, method: Method, features: FloatArray, scores: FloatArray, query: BoolArray, shots: int
    ) -> Float64Array:
        """Return (T,) balanced accuracy at the threshold that the support's images choose, each left out in turn."""
        synthetic, supports = self.trials.synthetic, np.stack(self.trials.supports(shots))
        left_out = self._left_out(method, features, scores, supports)
        found = []
        for row, asked, support, own in zip(scores, query, supports, left_out, strict=True):
            flagged = row > balanced_threshold(own, synthetic[support])
            rates = [np.mean(flagged[asked & (synthetic == side)] == side) for side in (False, True)]
            found.append(float(np.mean(rates)))
        return np.array(found)

    def _left_out(self, method: Method, features: FloatArray, scores: FloatArray, supports: IntArray) -> Float64Array:
        """Return (T, s) scores of support images by heads that did not see them.

        Where a method is too slow to be fitted again, they are those of the fitted head itself.
        """
        trials = np.arange(len(supports))[:, None]
        found = np.asarray(scores, np.float64)[trials, supports]
        if not method.refits:
            return found
        columns = [_places(self.trials.synthetic[supports] == side) for side in (False, True)]
        for fold in range(FOLDS):
            held = np.concatenate([places[:, fold::FOLDS] for places in columns], axis=1)
            kept = np.concatenate([np.delete(places, np.s_[fold::FOLDS], axis=1) for places in columns], axis=1)
            found[trials, held] = self._scores_of(method, features, supports[trials, kept], supports[trials, held])
        return found

    def _scores_of(self, method: Method, features: FloatArray, supports: IntArray, rows: IntArray) -> FloatArray:
        """Return (T, m) scores of a few rows (T, m) by heads fitted on supports (T, s), and on nothing unlabelled."""
        head, synthetic = method.head(), self.trials.synthetic
        if method.replays:
            return np.take_along_axis(self._scores(method, features, list(supports)), rows, axis=1)
        found = np.empty(rows.shape)
        for trial, support in enumerate(supports):
            fitted = head.converged().fit(features[support], synthetic[support].astype(np.int64))
            found[trial] = fitted.decision_function(features[rows[trial]])
        return found


def _places(member: BoolArray) -> IntArray:
    """Return (T, k) the places of the images of one class in every support (T, s), which all have k."""
    return np.nonzero(member)[1].reshape(len(member), -1).astype(np.int64)


def _share_of_group(pool: EvaluationPool, seed: int) -> Float64Array:
    """Return (n,) uniform numbers, equal within a group; images without a group are alone."""
    groups = pool.keys if pool.images.group is None else np.where(pool.images.group == "", pool.keys, pool.images.group)
    names, number = np.unique(groups.astype(str), return_inverse=True)
    return np.random.default_rng(seed).random(len(names))[number]


@dataclass(frozen=True)
class Standing:
    """One method over all new domains of a track: means over the domains, the better of two by AUROC first.

    Args:
        interval: the mean of the domains' 95 % intervals over draws and images: as wide as if all their errors had
            gone the same way, which is the most that a mean can be off.
    """

    contests: tuple[Contest, ...]

    @property
    def method(self) -> Method:
        """Whose it is."""
        return self.contests[0].method

    @property
    def called(self) -> str:
        """Its name with what it looks at."""
        return f"{self.method.name}: {self.method.looks_at}"

    @property
    def auroc(self) -> float:
        """The mean over draws and domains."""
        return float(np.mean([contest.new.mean() for contest in self.contests]))

    def cells(self) -> list[str]:
        """Return what the table says of the method."""
        first, found = self.contests[0], self.contests
        low, high = (float(np.mean([getattr(one.interval, end) for one in found])) for end in ("low", "high"))
        forgotten = [one.forgotten for one in found if one.forgotten is not None]
        return [
            first.method.name,
            first.method.looks_at,
            f"{self.auroc:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{np.mean([one.balanced.mean() for one in found]):.3f}",
            f"{np.mean([one.recall.mean() for one in found]):.3f}",
            f"{np.mean([np.nanmean(one.old) for one in found]):.3f}",
            f"{np.mean(forgotten):+.3f}" if forgotten else "",
            str(len(first.new)),
            str(first.support),
            str(round(np.mean([one.replay for one in found]))) if first.replay else "0",
            f"{first.trained:,}",
            first.method.steps,
            _seconds(float(np.mean([one.seconds for one in found]))),
        ]


HEADER = (
    "method",
    "features",
    "AUROC",
    "95 % interval",
    "balanced acc",
    "recall@5%FA",
    "old AUROC",
    "forgotten",
    "draws",
    "labelled",
    "replay",
    "trained parameters",
    "steps",
    "CPU s a fit",
)


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g}"


def standings(store: FeatureStore, track: str, options: argparse.Namespace) -> list[Standing]:
    """Return the standings of a track, the best first."""
    methods = methods_of(store)
    pool = load_pool(store, backbones=store.backbones, where={"track": track}, group="group")
    found: dict[Method, list[Contest]] = {method: [] for method in methods}
    for target in sorted(set(pool.images.source[pool.images.synthetic])):
        arena = Arena.of(pool, str(target), shots=options.shots, draws=options.draws, seed=options.seed)
        for method in methods:
            found[method].append(arena.contest(method, shots=options.shots, seed=options.seed))
            print(f"{track} {target} {method.name} {method.looks_at}: {found[method][-1].new.mean():.3f}", flush=True)
    return sorted((Standing(tuple(contests)) for contests in found.values()), key=lambda one: -one.auroc)


def page(found: dict[str, list[Standing]], options: argparse.Namespace, command: str) -> str:
    """Return the Markdown of the experiment."""
    tables = []
    for track, standing in found.items():
        domains = ", ".join(contest.target for contest in standing[0].contests)
        lines = [one.cells() for one in standing]
        tables.append(f"## Track `{track}`\n\nNew domains: {domains}.\n\n```\n{text_table(HEADER, lines)}\n```")
    text = PAGE.read_text().split(BEGIN)[0] if PAGE.is_file() else ""
    made = f"{options.shots} shots, {options.draws} draws, seed {options.seed}; made by `{command}`."
    return f"{text}{BEGIN}\n\n{made}\n\n" + "\n\n".join(tables) + "\n"


PAGE = Path("docs/experiments/duel.md")
BEGIN = "<!-- measured below by make duel -->"


def main() -> None:
    """Measure, print and, if wanted, write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="../shared/data, to be embedded as make results does")
    parser.add_argument("--weights", type=Path, help="the folder of weight files")
    parser.add_argument(
        "--store", type=Path, default=Path("build/results.h5"), help="features that are there, or will be"
    )
    parser.add_argument("--tracks", default=",".join(TRACKS))
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE}")
    options = parser.parse_args()
    if options.data is not None:
        embed(options.data, options.weights, options.store)
    store = FeatureStore(options.store)
    found = {track: standings(store, track, options) for track in options.tracks.split(",")}
    for track, standing in found.items():
        print(f"{track}\n{text_table(HEADER, [one.cells() for one in standing])}\n")
    if options.write:
        PAGE.write_text(page(found, options, "make duel"))
    print(
        json.dumps({track: {one.called: round(one.auroc, 4) for one in standing} for track, standing in found.items()})
    )


if __name__ == "__main__":
    main()
