"""Compare our code with golden outputs of the few-shot competitors: a line per array, and the counts last.

    python -m benchmarks.parity_peers FOLDER        (make parity PEERS=FOLDER)

FOLDER holds ``recipe.json`` and ``.npz`` files (tests/golden/peers is one). Each file has one function that answers all
of its arrays, inputs included. Exit status 1 when an array differs or is missing, or when a file is missing or unknown.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import parity_peers_fleet, parity_peers_fsd, parity_peers_omnidfa
from benchmarks.parity_peers_golden import Answer, Golden
from fewshot.core.errors import FewshotError, InputError

ANSWERS: Mapping[str, Callable[[Golden], Answer]] = {
    **parity_peers_fsd.ANSWERS,
    **parity_peers_fleet.ANSWERS,
    **parity_peers_omnidfa.ANSWERS,
}

# the backbones whose whole network is recorded, and in which file
RECORDED = {"fsd": "fsd_network", "omnidfa": "omnidfa"}

_BINNED = "average precision at ten thresholds, which is below the exact one; ours is exact"
_UNDEFINED = "not a number in their code, where a class has one image"
# what our code does not reproduce on purpose, by file and array
LEFT_OUT = {
    ("fsd_scores", "eval_ap10"): _BINNED,
    ("fsd_scores", "eval10_ap10"): _BINNED,
    ("fsd_network", "ap10"): _BINNED,
    ("fleet_losses", "fewshot_contrastive_singleton"): _UNDEFINED,
    ("fleet_losses", "fewshot_contrastive_singleton_grad"): _UNDEFINED,
}


@dataclass(frozen=True)
class Compared:
    """One array beside the authors', or one file that could not be compared.

    Args:
        error: max|ours - theirs| / max|theirs|; for integers 0 where all are equal, else infinite.
        reason: why there is no error to state; of an array that is left out, why it is.
        left_out: whether the array is not reproduced on purpose.
    """

    name: str
    error: float = np.inf
    tolerance: float = 0.0
    reason: str = ""
    left_out: bool = False

    @property
    def differs(self) -> bool:
        """Whether ours is not theirs to the tolerance; what is left out never differs."""
        return not self.left_out and (bool(self.reason) or not self.error <= self.tolerance)

    def __str__(self) -> str:
        verdict = "left out" if self.left_out else "DIFFERS" if self.differs else "agrees"
        return f"{self.name:<52} {verdict:<8} {self.reason or f'{self.error:.1e} (<= {self.tolerance:g})'}"


def main() -> int:
    """Compare, and print a line per array."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    found = []
    try:
        for one in compare(folder):
            print(one, flush=True)
            found.append(one)
    except FewshotError as error:
        print(f"parity: {error}", file=sys.stderr)
        return 1
    compared = [one for one in found if not one.left_out]
    differing = sum(one.differs for one in compared)
    if len(found) > len(compared):
        print(f"parity: {len(found) - len(compared)} arrays are left out on purpose, for the reasons above")
    print(f"parity: {len(compared)} arrays, {differing} differing")
    return 1 if differing or not compared else 0


def compare(folder: Path) -> Iterator[Compared]:
    """Yield the comparison of every array of a folder, file by file.

    Raises:
        InputError: there is no recipe.
    """
    recipe = _recipe(folder)
    for file in sorted({*recipe["files"], *(path.stem for path in folder.glob("*.npz"))}):
        yield from compare_file(folder / f"{file}.npz", recipe)


def compare_file(path: Path, recipe: Mapping[str, Any]) -> Iterator[Compared]:
    """Yield the comparison of every array of a file; one line where it cannot be compared."""
    answer = ANSWERS.get(path.stem)
    try:
        golden = Golden.read(path, recipe)
        if answer is None:
            raise InputError(f"nothing of ours answers for {path.stem!r}")
        ours = answer(golden)
    except (FewshotError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        yield Compared(path.stem, reason=f"{type(error).__name__}: {error}".splitlines()[0])
        return
    for name, theirs in golden.arrays.items():
        yield _compared(golden, name, ours.get(name), theirs)


def _recipe(folder: Path) -> Mapping[str, Any]:
    try:
        recipe: dict[str, Any] = json.loads((folder / "recipe.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}/recipe.json cannot be read ({error}); give PEERS a folder of golden outputs"
        ) from error
    if not isinstance(recipe, dict) or not isinstance(recipe.get("files"), dict):
        raise InputError(f"{folder}/recipe.json names no files; give PEERS a folder of golden outputs of competitors")
    return recipe


def _compared(golden: Golden, name: str, ours: NDArray[Any] | None, theirs: NDArray[Any]) -> Compared:
    title = f"{golden.file} {name}"
    if reason := LEFT_OUT.get((golden.file, name)):
        return Compared(title, reason=reason, left_out=True)
    if ours is None:
        return Compared(title, reason="we have no such array")
    ours = np.asarray(ours)
    if ours.shape != theirs.shape:
        return Compared(title, reason=f"shape {ours.shape}, theirs {theirs.shape}")
    if theirs.dtype.kind in "iub":
        return Compared(title, error=0.0 if np.array_equal(ours, theirs) else np.inf)
    return Compared(title, _error(ours, theirs), golden.tolerance)


def _error(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Return the largest difference beside the largest value; the difference itself where all values are zero."""
    difference = float(np.max(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)), initial=0.0))
    largest = float(np.max(np.abs(theirs.astype(np.float64)), initial=0.0))
    return difference / largest if largest else difference


if __name__ == "__main__":
    sys.exit(main())
