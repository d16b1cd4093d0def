"""Compare every backbone with golden outputs of the authors' code: a row per file, and one summary line.

    python benchmarks/parity.py [FOLDER] [--weights FOLDER] [--docs docs/backbones.md [--cards-only]]

FOLDER holds ``recipe.json`` and ``.npz`` files (tests/golden when not given). Authors' own weights are looked for in
--weights, in ../shared/weights, or in the cache folder. Exit status 1 when anything disagrees.
"""

import argparse
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from fewshot.core.errors import FewshotError
from fewshot.embeddings.backbones.catalogue import backbones
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.backbones.parity import ArrayError, FileResult, compare_file, read_recipe

ROOT = Path(__file__).resolve().parent.parent
SHARED_WEIGHTS = ROOT.parent / "shared" / "weights"
BEGIN, END = "<!-- {} begin: written by `make parity` -->", "<!-- {} end -->"


def main() -> int:
    """Compare, print, and write the tables of the docs when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "tests" / "golden")
    parser.add_argument("--weights", type=Path, default=SHARED_WEIGHTS if SHARED_WEIGHTS.is_dir() else None)
    parser.add_argument("--docs", type=Path, help="rewrite the tables in this file")
    parser.add_argument("--cards-only", action="store_true", help="compare nothing; rewrite only the table of cards")
    options = parser.parse_args()
    if options.cards_only:
        options.docs.write_text(replaced(options.docs.read_text(), "backbones", backbone_table()))
        return 0
    try:
        results = compare(options.folder, options.weights)
    except FewshotError as error:
        print(f"parity: {error}", file=sys.stderr)
        return 1
    bad = [result for result in results if not result.agrees]
    if options.docs is not None and not bad:
        options.docs.write_text(with_tables(options.docs.read_text(), results))
    arrays = sum(len(result.arrays) for result in results)
    names = f"; disagree: {', '.join(result.file for result in bad)}" if bad else ""
    print(f"parity: {len(results) - len(bad)} of {len(results)} files agree, {arrays} arrays compared{names}")
    return 1 if bad or not results else 0


def compare(folder: Path, weights: Path | None) -> list[FileResult]:
    """Return the result of every file, printing each as it comes."""
    recipe = read_recipe(folder)
    results = []
    for path in sorted(folder.glob("*.npz")):
        started = time.monotonic()
        result = compare_file(path, recipe, weights=weights)
        results.append(result)
        print(row(result, recipe.images, time.monotonic() - started), flush=True)
    return results


def row(result: FileResult, images: Collection[str], seconds: float) -> str:
    """Return one line: file, backbone, verdict, and the largest error of every array against its tolerance."""
    verdict = "agrees" if result.agrees else "DISAGREES"
    shown = result.reason or ", ".join(
        f"{name} {array.reason or f'{array.error:.1e} (<= {array.tolerance:g})'}"
        for name, array in worst(result, images).items()
    )
    return f"{result.file:<38} {result.backbone:<28} {verdict:<9} {seconds:5.0f} s  {shown}"


def worst(result: FileResult, images: Collection[str]) -> dict[str, ArrayError]:
    """Return the largest error of each array over the images: ``feature_A`` and ``feature_B`` are one array."""
    found: dict[str, ArrayError] = {}
    for array in result.arrays:
        base, _, image = array.name.rpartition("_")
        name = base if image in images else array.name
        if name not in found or array.reason or not array.error <= found[name].error:
            found[name] = array
    return found


def with_tables(text: str, results: list[FileResult]) -> str:
    """Return the docs with their two tables written anew."""
    return replaced(replaced(text, "backbones", backbone_table()), "agreement", agreement_table(results))


def replaced(text: str, name: str, table: str) -> str:
    """Return the text with what stands between the marks of ``name`` replaced."""
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{table}\n{end}{after}"


def backbone_table() -> str:
    """Return a row for every backbone and variant."""
    lines = [
        "| backbone | layers | input | parameters | GFLOPs | equality | licence | paper |",
        "| --- | --- | --- | ---: | ---: | --- | --- | --- |",
    ]
    lines += [f"| {' | '.join(cells(facts))} |" for facts in backbones()]
    return "\n".join(lines)


def cells(facts: Mapping[str, object]) -> list[str]:
    """Return the cells of one backbone."""
    layers = facts["layers"]
    assert isinstance(layers, Mapping)
    shown = [f"`{name}` {dimension}" for name, dimension in layers.items()]
    if len(shown) > 6:
        shown = [*shown[:5], f"and {len(shown) - 5} more"]
    layer_text = (", ".join(shown) or "any module by name") + (", `logit`" if facts["logit"] else "")
    parameters = "" if facts["parameters"] is None else f"{facts['parameters']:,}"
    gflops = "" if facts["gflops"] is None else f"{facts['gflops']:.4g}"
    name, rule = f"`{facts['name']}`", str(facts["input"])
    return [
        name, layer_text, rule, parameters, gflops, str(facts["equality"]), str(facts["licence"]), str(facts["paper"])
    ]  # fmt: skip


def agreement_table(results: list[FileResult]) -> str:
    """Return a row for every golden file: the largest relative error over its arrays."""
    lines = [
        "| golden file | backbone | arrays | largest error | of | tolerance |",
        "| --- | --- | ---: | ---: | --- | ---: |",
    ]
    for result in results:
        floats = [array for array in result.arrays if array.tolerance and array.tolerance < 1]
        largest = max(floats, key=lambda array: array.error)
        lines.append(
            f"| {result.file} | `{create(result.backbone).card.name}` | {len(result.arrays)} | {largest.error:.1e} | "
            f"{largest.name} | {largest.tolerance:g} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
