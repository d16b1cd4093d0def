"""Options that several commands share, declared once so that they read the same everywhere."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

LARGEST_SEED = 2**32 - 1  # what scikit-learn's random states take
STORE = click.Path(path_type=Path)


def refuse_given(names: Iterable[str], *, why: str) -> None:
    """Refuse options that the user gave and this call would not use.

    Args:
        names: of parameters of the current command.
        why: when they are used, as the end of a sentence.

    Raises:
        click.UsageError: one was given.
    """
    known = {each.name: each.opts[0] for each in click.get_current_context().command.params}
    if given := [known[name] for name in given_of(names)]:
        raise click.UsageError(f"{', '.join(given)} cannot be used here: {why}; leave it out")


def given_of(names: Iterable[str]) -> list[str]:
    """Return those of some parameters of the current command that the user gave."""
    context = click.get_current_context()
    default = (None, click.core.ParameterSource.DEFAULT, click.core.ParameterSource.DEFAULT_MAP)
    return [name for name in names if context.get_parameter_source(name) not in default]


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``: stdout holds one JSON document and nothing else."""
    return click.option("as_json", "--json", is_flag=True, help="Print one JSON document on stdout.")(command)


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--quiet``: no progress."""
    return click.option("--quiet", "-q", is_flag=True, help="Show no progress.")(command)


def seed_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--seed``: the number all draws follow from."""
    seeds = click.IntRange(0, LARGEST_SEED)
    return click.option("--seed", type=seeds, default=0, show_default=True, help="Seed of everything drawn.")(command)


def where_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--where column=value``: which images take part."""
    return click.option(
        "--where",
        multiple=True,
        metavar="COLUMN=VALUE",
        callback=pairs_option,
        help="Only images whose column has this value; commas mean any of the values, and double quotes take a value "
        'as it stands: source=cam,"a, b". Repeatable for other columns.',
    )(command)


def backbones_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--backbone``: which of a store's backbones, all by default."""
    return click.option(
        "--backbone",
        "-b",
        multiple=True,
        callback=split_commas,
        metavar="NAME[,NAME...]",
        help="Backbones of the store.  [default: all]",
    )(command)


def backbone_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--backbone`` where one is read."""
    text = "Whose features; needed only where the store has several backbones."
    return click.option("--backbone", "-b", metavar="NAME", help=text)(command)


def layers_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--layer``: layers by name, or how they are chosen."""
    return click.option(
        "--layer",
        default="fixed",
        show_default=True,
        callback=split_commas,
        metavar="NAME|fixed|all|support-cv|oracle",
        help="fixed: each backbone's default; support-cv: chosen inside the support; oracle: on query labels.",
    )(command)


def heads_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--head``: which heads are fitted."""
    return click.option(
        "--head",
        default="svm",
        show_default=True,
        callback=split_commas,
        metavar="NAME[,NAME...]",
        help="Heads to fit; `fewshot list heads` names them.",
    )(command)


def trials_option(*, default: int | None, text: str) -> Decorator:
    """``--trials``: how many draws; ``text`` says of what."""
    return click.option(
        "--trials", type=click.IntRange(1), default=default, show_default=default is not None, help=text
    )


def group_option(
    *, default: str | None = None, text: str = "Images that share a value never stand on both sides."
) -> Decorator:
    """``--group``: the column that keeps images together; ``text`` says how."""
    return click.option("--group", default=default, show_default=default is not None, metavar="COLUMN", help=text)


def per_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--per``: what a shot is counted in."""
    return click.option(
        "--per",
        type=click.Choice(["class", "source"]),
        default="class",
        show_default=True,
        help="Shots of each class, or of each source.",
    )(command)


def report_option(*, text: str = "The report to write, as JSON.") -> Decorator:
    """``-o``: where the report goes; ``--out`` and ``--output`` are the same."""
    path = click.Path(path_type=Path)
    return click.option("out", "--out", "--output", "-o", type=path, metavar="REPORT.json", help=text)


def keep_scores_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--keep-scores``: the score of every image beside the report."""
    text = "Save every image's scores beside the report, as .npz; needs -o."
    return click.option("--keep-scores", is_flag=True, help=text)(command)


def device_option(*, default: str, text: str) -> Decorator:
    """``--device``: where something is computed; ``text`` says what."""
    return click.option("--device", default=default, show_default=True, metavar="auto|cpu|cuda|cuda:N", help=text)


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--device`` and ``--precision``."""
    command = click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="Arithmetic of the networks; auto is fp32 on the CPU and bf16 on CUDA.",
    )(command)
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|cuda:N",
        help="Where the networks run; only auto may fall back.",
    )(command)


def split_numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read ``1,5,10`` as (1, 5, 10); None stays None."""
    if value is None:
        return None
    try:
        return tuple(int(part) for part in split_commas(context, parameter, value))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 1,5,10", param=parameter) from error


def split_commas(_: click.Context, __: click.Parameter, values: tuple[str, ...] | str | None) -> tuple[str, ...]:
    """Flatten repeated and comma-separated values: ``-b a,b -b c`` gives ``("a", "b", "c")``."""
    given = (values,) if isinstance(values, str) else values or ()
    return tuple(part.strip() for value in given for part in value.split(",") if part.strip())


def share_option(_: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Read ``5%`` or ``0.05`` as a share; None stays None."""
    return None if value is None else share_of(value, parameter)


def share_of(text: str, parameter: click.Parameter) -> float:
    """Return the share that a text names: ``5%`` or ``0.05``.

    Raises:
        click.BadParameter: it names none.
    """
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a share; write for example 5% or 0.05", param=parameter) from error
    return number / 100 if text.strip().endswith("%") else number


def pairs_option(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return repeated ``COLUMN=VALUE`` options as a dictionary; the same column twice is refused."""
    pairs: dict[str, str] = {}
    for value in values:
        name, equals, wanted = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not COLUMN=VALUE", param=parameter)
        if name in pairs:
            raise click.BadParameter(f"{name!r} is given twice ({pairs[name]!r} and {wanted!r})", param=parameter)
        pairs[name] = wanted
    return pairs
