"""How a checkout is built: rooms, the imports between them, circles, lengths of functions and files.

Run: ``python benchmarks/structure.py [CHECKOUT] [--json]``. It reads source and imports none of it, needs nothing but
Python, and measures any checkout of this project, older or newer than itself. A room is a folder with ``__init__.py``,
or a single module that stands beside such folders; a house is a room that has folders of its own; its floor is what
stands directly within it, each folder as one room. An arrow says that one imports the other, wherever the import
stands: under ``TYPE_CHECKING`` and inside functions too. ``import fewshot.x.y`` is an arrow to ``y`` alone; names in
strings are none. Prints tables, or one JSON document that lists every arrow.
"""

import argparse
import ast
import json
import math
import os
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# The folders at the root and what they are imported as; docs/decisions/0001-package-mapping.md says why.
ROOTS = {"fewshot": "fewshot", "embeddings": "fewshot.embeddings", "protocols": "fewshot.protocols"}
DOOR = "__init__"  # a house's own __init__.py: a module like any other, yet no room on its floor
LONG_FILE_LINES = 300
LONGEST_SHOWN = 5

Arrows = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Module:
    """One Python file.

    Args:
        name: what it is imported as.
        path: where it lies, from the checkout's root.
        package: whether it is a folder's ``__init__.py``.
        lines: all its lines, blank ones too.
        tree: its parsed source.
    """

    name: str
    path: Path
    package: bool
    lines: int
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder that it stands directly within."""
        return self.name if self.package else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Room:
    """A folder's own files, without those of the folders in it.

    Args:
        files: how many.
        lines: of all of them.
        arrows: between them; the ``__init__.py`` has the folder's name.
    """

    files: int
    lines: int
    arrows: list[tuple[str, str]]


@dataclass(frozen=True)
class House:
    """The floor of a folder that has folders in it: each of them, and each module beside them, is one room.

    Args:
        rooms: their names within the house.
        arrows: between rooms.
        door_arrows: from and to the house's own ``__init__.py``, which is no room.
        circles: rooms, and the door, that import each other in a round.
    """

    rooms: list[str]
    arrows: list[tuple[str, str]]
    door_arrows: list[tuple[str, str]]
    circles: list[list[str]]


@dataclass(frozen=True)
class Function:
    """A function or method, also one inside another.

    Args:
        name: module, colon, qualified name.
        lines: from ``def`` to its end; decorators do not count.
        lines_without_docstring: the same without the docstring.
    """

    name: str
    lines: int
    lines_without_docstring: int


def python_files(folder: Path) -> Iterator[Path]:
    """Yield the Python files below a folder, not those behind links: the links repeat folders of the root."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(place) / name for name in sorted(files) if name.endswith(".py"))


def read_modules(checkout: Path) -> dict[str, Module]:
    """Return every module of the source by its name, in the order of the names."""
    found = {}
    for folder, imported_as in ROOTS.items():
        for path in python_files(checkout / folder):
            inner = path.relative_to(checkout / folder).with_suffix("").parts
            package = inner[-1] == DOOR
            name = ".".join((imported_as, *(inner[:-1] if package else inner)))
            text = path.read_text(encoding="utf-8")
            found[name] = Module(name, path.relative_to(checkout), package, len(text.splitlines()), ast.parse(text))
    return dict(sorted(found.items()))


def imported_names(module: Module, known: Iterable[str]) -> Iterator[str]:
    """Yield the modules that a module imports, among the known ones; libraries are not known."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, module)
            inner = [f"{base}.{alias.name}" for alias in node.names]
            found = {name if name in known else base for name in inner}
            yield from (name for name in found if name in known)


def _base(node: ast.ImportFrom, module: Module) -> str:
    """Return the absolute name of what stands between ``from`` and ``import``."""
    if not node.level:
        return node.module or ""
    above = module.room.split(".")
    kept = above[: len(above) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


def module_arrows(modules: dict[str, Module]) -> Arrows:
    """Return who imports whom, among all modules."""
    return frozenset(
        (name, other) for name, module in modules.items() for other in imported_names(module, modules) if other != name
    )


def circles(arrows: Arrows) -> list[list[str]]:
    """Return the groups of two or more that all reach each other along arrows, each sorted."""
    onward: dict[str, set[str]] = {}
    for start, end in arrows:
        onward.setdefault(start, set()).add(end)
    reached = {start: _reachable(start, onward) for start in onward}
    groups = {
        frozenset(end for end in ends if start in reached.get(end, ()))
        for start, ends in reached.items()
        if start in ends
    }
    return sorted(sorted(group) for group in groups)


def _reachable(start: str, onward: dict[str, set[str]]) -> set[str]:
    """Return what one or more arrows lead to; the start itself only if it lies in a circle."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = onward.get(waiting.pop(), set()) - reached
        reached |= new
        waiting.extend(new)
    return reached


def measure_rooms(modules: dict[str, Module], arrows: Arrows) -> dict[str, Room]:
    """Return every folder with ``__init__.py`` and what stands directly within it."""
    within: dict[str, list[Module]] = {name: [] for name, module in modules.items() if module.package}
    for module in modules.values():
        within.setdefault(module.room, []).append(module)
    measured = {}
    for name, inner in within.items():
        names = {module.name for module in inner}
        among = sorted((start, end) for start, end in arrows if start in names and end in names)
        measured[name] = Room(len(inner), sum(module.lines for module in inner), among)
    return measured


def measure_house(house: str, modules: dict[str, Module], arrows: Arrows) -> House:
    """Return the floor of a house."""
    inside = {name: _on_floor(name, house) for name in modules if name == house or name.startswith(f"{house}.")}
    across = {(inside[start], inside[end]) for start, end in arrows if start in inside and end in inside}
    floor: Arrows = frozenset((start, end) for start, end in across if start != end)
    door = sorted(arrow for arrow in floor if DOOR in arrow)
    return House(sorted({*inside.values()} - {DOOR}), sorted(floor - {*door}), door, circles(floor))


def _on_floor(module: str, house: str) -> str:
    """Return the room on the house's floor that a module of the house belongs to."""
    return module[len(house) + 1 :].partition(".")[0] or DOOR


def functions_of(module: Module) -> Iterator[Function]:
    """Yield the functions and methods of a module."""
    waiting: list[tuple[ast.AST, str]] = [(module.tree, "")]
    while waiting:
        node, outer = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            outer = f"{outer}.{node.name}".lstrip(".")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = _lines(node)
            yield Function(f"{module.name}:{outer}", lines, lines - _docstring_lines(node))
        waiting.extend((inner, outer) for inner in ast.iter_child_nodes(node))


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _docstring_lines(node: ast.AST) -> int:
    """Return how many lines a node's docstring takes, quotes included; 0 for what has none."""
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return 0
    return _lines(node.body[0]) if ast.get_docstring(node, clean=False) is not None else 0


def spread(lengths: Sequence[int]) -> dict[str, float]:
    """Return the median, the 90th percentile (a length that occurs) and the maximum."""
    ordered = sorted(lengths)
    return {
        "median": statistics.median(ordered),
        "p90": ordered[math.ceil(0.9 * len(ordered)) - 1],
        "max": ordered[-1],
    }


def measure_functions(modules: Iterable[Module]) -> dict[str, Any]:
    """Return the spread of the lengths of all functions, with and without docstrings, and the longest by name."""
    found = [function for module in modules for function in functions_of(module)]
    longest = sorted(found, key=lambda function: (-function.lines, function.name))[:LONGEST_SHOWN]
    return {
        "count": len(found),
        "lines": spread([function.lines for function in found]),
        "lines_without_docstring": spread([function.lines_without_docstring for function in found]),
        "longest": [asdict(function) for function in longest],
    }


def measure_lines(modules: Iterable[Module], checkout: Path) -> dict[str, Any]:
    """Return the lines of source, of its docstrings and of the tests, and the long files of the source."""
    modules = list(modules)
    source = sum(module.lines for module in modules)
    docstrings = sum(_docstring_lines(node) for module in modules for node in ast.walk(module.tree))
    tests = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(checkout / "tests"))
    return {
        "source": source,
        "docstrings": docstrings,
        "docstring_share": docstrings / source,
        "tests": tests,
        "tests_per_source": tests / source,
        "long_files": {module.path.as_posix(): module.lines for module in modules if module.lines > LONG_FILE_LINES},
    }


def measure(checkout: Path) -> dict[str, Any]:
    """Return all that is measured of a checkout, as JSON writes it."""
    modules = read_modules(checkout)
    arrows = module_arrows(modules)
    rooms = measure_rooms(modules, arrows)
    houses = [name for name in rooms if any(other.startswith(f"{name}.") for other in rooms)]
    return {
        "rooms": {name: asdict(room) for name, room in rooms.items()},
        "houses": {name: asdict(measure_house(name, modules, arrows)) for name in houses},
        "modules": len(modules),
        "arrows": sorted(arrows),
        "circles": circles(arrows),
        "functions": measure_functions(modules.values()),
        "lines": measure_lines(modules.values(), checkout),
    }


def show(measured: dict[str, Any]) -> None:
    """Print everything as tables."""
    show_rooms(measured["rooms"])
    show_houses(measured["houses"])
    show_circles(measured)
    show_functions(measured["functions"])
    show_lines(measured["lines"])


def show_rooms(rooms: dict[str, Any]) -> None:
    """Print every room with the files and arrows directly within it, and their sums."""
    rows = [[name, room["files"], room["lines"], len(room["arrows"])] for name, room in rooms.items()]
    sums = [sum(row[column] for row in rows) for column in (1, 2, 3)]
    print_table(["room", "files", "lines", "arrows within"], [*rows, ["all", *sums]])


def show_houses(houses: dict[str, Any]) -> None:
    """Print how many rooms and arrows the floor of every house has."""
    rows = [
        [name, *(len(house[part]) for part in ("rooms", "arrows", "door_arrows", "circles"))]
        for name, house in houses.items()
    ]
    print_table(["house", "rooms", "arrows between", "and of its __init__", "circles"], rows)


def show_circles(measured: dict[str, Any]) -> None:
    """Print every circle by name, of modules and on every floor."""
    floors = {f"rooms of {name}": house["circles"] for name, house in measured["houses"].items()}
    among = {f"{measured['modules']} modules with {len(measured['arrows'])} arrows": measured["circles"], **floors}
    for where, found in among.items():
        print(f"circles among {where}: {len(found) or 'none'}")
        for circle in found:
            print(f"  {len(circle)}: {', '.join(circle)}")
    print()


def show_functions(functions: dict[str, Any]) -> None:
    """Print how long functions are, and the longest."""
    kinds = {"whole": "lines", "without docstring": "lines_without_docstring"}
    rows = [[name, *functions[kind].values()] for name, kind in kinds.items()]
    print_table([f"lines of {functions['count']} functions", "median", "p90", "max"], rows)
    longest = [list(function.values()) for function in functions["longest"]]
    print_table(["longest functions", "lines", "without docstring"], longest)


def show_lines(lines: dict[str, Any]) -> None:
    """Print long files, the share of docstrings and tests against source."""
    longest_first = sorted(lines["long_files"].items(), key=lambda file: -file[1])
    print_table([f"files over {LONG_FILE_LINES} lines: {len(longest_first)}", "lines"], longest_first)
    print(f"docstrings: {lines['docstrings']} of {lines['source']} lines of source, {lines['docstring_share']:.1%}")
    print(f"tests : source = {lines['tests']} : {lines['source']} lines = {lines['tests_per_source']:.2f}")


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, names to the left and numbers to the right, and an empty line."""
    cells = [list(head), *([f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        numbers = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        print("  ".join([f"{first:<{widths[0]}}", *numbers]))
    print()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("checkout", nargs="?", type=Path, default=here, help="what to measure; this one by default")
    parser.add_argument("--json", action="store_true", help="print one JSON document, with every arrow by name")
    options = parser.parse_args()
    if not (options.checkout / "fewshot").is_dir():
        parser.error(f"a checkout of this project has a folder 'fewshot', and {options.checkout} has none")
    measured = measure(options.checkout)
    if options.json:
        print(json.dumps(measured, indent=1))
    else:
        show(measured)


if __name__ == "__main__":
    main()
