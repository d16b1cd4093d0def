"""Options that several commands share, declared once so that they read the same everywhere."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from fewshot.cli import completers

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
    text = "Seed of everything drawn."
    return click.option("--seed", type=seeds, default=0, show_default=True, metavar="N", help=text)(command)


def where_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--where column=value``: which images take part."""
    return click.option(
        "--where",
        multiple=True,
        metavar="COLUMN=VALUE",
        callback=pairs_option,
        shell_complete=completers.columns_and_values,
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
        shell_complete=completers.backbones,
        help="Backbones of the store.  [default: all]",
    )(command)


def backbone_sets_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--backbone`` where sets of several may be named too."""
    return click.option(
        "--backbone",
        "-b",
        multiple=True,
        callback=split_commas,
        metavar="NAME[,NAME+NAME...]",
        shell_complete=completers.backbones,
        help="Backbones of the store; NAME+NAME fits one head on several.  [default: all]",
    )(command)


def fuse_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--fuse`` and ``--fuse-weights``: one head over several backbones."""
    command = click.option(
        "--fuse-weights",
        type=click.Choice(["alignment", "auroc", "uniform"]),
        default="alignment",
        show_default=True,
        help="What a fused head weighs backbones by, inside each support: how well a kernel fits the labels, or "
        "cross-validated AUROC; uniform: all alike.",
    )(command)
    return click.option(
        "--fuse",
        type=click.Choice(["kernel", "scores"]),
        is_flag=False,
        flag_value="kernel",
        metavar="[kernel|scores]",
        help="Also one head over all backbones, beside each of them and one chosen in the support: by the sum of their "
        "kernels in one SVM (kernel, the default), or by the scores of --head on each (scores).",
    )(command)


def backbone_option(*, text: str = "Backbone of the store; needed only where it has several.") -> Decorator:
    """``--backbone`` where one is read; ``text`` says what for."""
    return click.option("--backbone", "-b", metavar="NAME", shell_complete=completers.backbones, help=text)


def layers_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--layer``: layers by name, or how they are chosen."""
    return click.option(
        "--layer",
        default="fixed",
        show_default=True,
        callback=split_commas,
        metavar="NAME[,NAME...]|fixed|all|support-cv|oracle",
        shell_complete=completers.layers,
        help="fixed: each backbone's default; support-cv: chosen inside the support; oracle: on query labels.",
    )(command)


def layer_option(*, text: str = "Layer of the backbone.  [default: its own choice]") -> Decorator:
    """``--layer`` where one is read; ``text`` says of what."""
    return click.option("--layer", metavar="NAME", shell_complete=completers.layers, help=text)


def heads_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--head``: which heads are fitted."""
    return click.option(
        "--head",
        default="svm",
        show_default=True,
        callback=split_commas,
        metavar="NAME[,NAME...]",
        shell_complete=completers.heads,
        help="Heads to fit; `fewshot list heads` names them.",
    )(command)


def scale_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--scale``: what features are divided by before a head is fitted."""
    return click.option(
        "--scale",
        type=click.Choice(["unit", "standard", "auto", "pool"]),
        default="unit",
        show_default=True,
        help="Features of unit length, or standardised by each support; auto: what each support prefers, layer by "
        "layer; pool: standardised by the unlabelled query images, which is transductive.",
    )(command)


def trials_option(*, default: int | None, text: str = "Random draws of the support.") -> Decorator:
    """``--trials``: how many draws; ``text`` says of what."""
    shown = default is not None
    return click.option("--trials", type=click.IntRange(1), default=default, show_default=shown, metavar="N", help=text)


def group_option(
    *, default: str | None = None, text: str = "Images that share this column's value never stand on both sides."
) -> Decorator:
    """``--group``: the column that keeps images together; ``text`` says how."""
    return click.option(
        "--group",
        default=default,
        show_default=default is not None,
        metavar="COLUMN",
        shell_complete=completers.columns,
        help=text,
    )


def per_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--per``: what a shot is counted in."""
    return click.option(
        "--per",
        type=click.Choice(["class", "source"]),
        default="class",
        show_default=True,
        help="Shots of each class, or of each source.",
    )(command)


def out_option(*, metavar: str, text: str, required: bool = False, default: Path | None = None) -> Decorator:
    """``-o``, ``--out``: the file or folder to write; ``--output`` means the same and is not shown."""
    given = {} if default is None else {"default": default}  # from click 8.3, None given as default is a value
    return click.option(
        "out",
        "-o",
        "--out",
        cls=_Out,
        type=click.Path(path_type=Path),
        metavar=metavar,
        required=required,
        show_default=default is not None,
        help=text,
        **given,
    )


class _Out(click.Option):
    """An option that is also taken by its earlier name, which neither help nor completion shows."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Add both names."""
        super().add_to_parser(parser, ctx)
        parser.add_option(obj=self, opts=["--output"], dest=self.name, action="store", nargs=1)


def report_option(*, text: str = "The report to write.", required: bool = False) -> Decorator:
    """``-o``: where the report goes."""
    return out_option(metavar="REPORT.json", text=text, required=required)


def keep_scores_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--keep-scores``: the score of every image beside the report."""
    text = "Save every image's scores beside the report, as .npz; needs -o."
    return click.option("--keep-scores", is_flag=True, help=text)(command)


def gallery_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--gallery``: queries beside their nearest images, as a page or picture."""
    text = "Draw every image beside the nearest known ones."
    return click.option("--gallery", type=click.Path(path_type=Path), metavar="GALLERY.html|GALLERY.png", help=text)(
        command
    )


def root_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--root``: where images lie that are no longer where their store found them."""
    return click.option(
        "roots",
        "--root",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Where the images of a store lie now, if they have moved; repeatable.",
    )(command)


def weights_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--weights``: weight files of backbones."""
    return click.option(
        "--weights",
        multiple=True,
        metavar="NAME=PATH|NAME=random|FOLDER",
        help="A backbone's weight file, random weights for a trial, or a folder to look in for all of them before "
        "$FEWSHOT_WEIGHTS (when that is unset, the user's cache); repeatable.",
    )(command)


def workers_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--workers``: decoding processes."""
    text = "Processes that decode images; 0 for none."
    return click.option("--workers", default="auto", show_default=True, metavar="N", help=text)(command)


def log_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--log``: an audit log of verdicts."""
    text = "Append a line for every verdict to this audit log."
    return click.option("--log", type=click.Path(path_type=Path), metavar="AUDIT.jsonl", help=text)(command)


def device_option(*, default: str) -> Decorator:
    """``--device``: where networks run and heads are fitted."""
    text = "Where to compute; only auto may fall back."
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
    return device_option(default="auto")(command)


def counts_option(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read ``1,5,10`` as (1, 5, 10), each at least 1; None stays None."""
    numbers = split_numbers(context, parameter, value)
    if numbers is not None and (not numbers or min(numbers) < 1):
        raise click.BadParameter(f"{value!r} is not a list of numbers of at least 1 such as 1,5,10", param=parameter)
    return numbers


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
