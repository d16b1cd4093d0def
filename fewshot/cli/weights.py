"""``fewshot weights``: where weight files come from, whether they are here, and how to get them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from fewshot.cli import completers
from fewshot.cli.grouped_help import Group
from fewshot.cli.options import json_option, out_option, quiet_option, split_commas, weights_option
from fewshot.cli.reporting import print_json, print_line, print_note

CACHE = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder of weight files.  [default: $FEWSHOT_WEIGHTS, else the user's cache]",
)
NAMES = click.argument(
    "names", nargs=-1, callback=split_commas, metavar="[NAME[,NAME...]]", shell_complete=completers.family_members
)


@click.group(
    cls=Group,
    short_help="Where weight files come from, and are they here?",
    examples=("fewshot weights list npr", "fewshot weights fetch npr"),
)
def command() -> None:
    """List, fetch, verify, convert and pack the weight files of backbones.

    Nothing is downloaded by any other command. Your own files need not be here: name them with --weights NAME=PATH, or
    their folder with --weights FOLDER.
    """


@command.command(
    "list",
    short_help="Every weight file: source, licence, size, whether it is here.",
    examples=("fewshot weights list", "fewshot weights list npr,unifd --cache weights/"),
)
@NAMES
@CACHE
@json_option
def list_files(names: tuple[str, ...], cache: Path | None, as_json: bool) -> None:
    """List every weight file with its source, licence, size and SHA-256; those on this machine stand first."""
    from fewshot.embeddings.backbones.catalogue import file_row, weight_files
    from fewshot.embeddings.weights.locate import cache_folder

    rows = sorted((file_row(needed, cache=cache) for needed in weight_files(names)), key=lambda row: not row["path"])
    if as_json:
        print_json(rows, indent=1)
        return
    here = sum(row["path"] is not None for row in rows)
    first = ", which stand first" if 0 < here < len(rows) else ""
    print_line(f"On this machine: {here} of {len(rows)} files{first}. Looked for in {cache or cache_folder()}")
    for row in rows:
        _print_file(row)


@command.command(
    short_help="Fetch the weight files of backbones and check them.",
    examples=("fewshot weights fetch npr", "fewshot weights fetch npr,unifd --offline"),
)
@NAMES
@CACHE
@click.option("--offline", is_flag=True, help="Fetch nothing; say what is missing and where it would come from.")
@quiet_option
@json_option
def fetch(names: tuple[str, ...], cache: Path | None, offline: bool, quiet: bool, as_json: bool) -> None:
    """Fetch the weight files of the backbones NAMES and check them; a download that broke off is resumed."""
    from fewshot.embeddings.backbones.creation import create
    from fewshot.embeddings.weights.download import fetch as fetch_files

    if not names:
        raise click.UsageError("name the backbones to fetch, for example: fewshot weights fetch npr")
    found = {}
    for name in names:
        say = (lambda line: None) if quiet else (lambda line: print_note(line))
        paths = fetch_files(create(name).card, cache=cache, offline=offline, quiet=quiet, say=say)
        found[name] = {part: str(path) for part, path in paths.items()}
    _print_paths(found, as_json=as_json)


@command.command(
    short_help="Reread every weight file here and compare its SHA-256.",
    examples=("fewshot weights verify", "fewshot weights verify npr --json"),
)
@NAMES
@CACHE
@json_option
def verify(names: tuple[str, ...], cache: Path | None, as_json: bool) -> None:
    """Reread every weight file on this machine and compare its SHA-256 with the published or the pinned one."""
    from fewshot.core.errors import WeightsError

    rows = list(_verified_rows(names, cache))
    if as_json:
        print_json(rows, indent=1)
    for row in rows if not as_json else ():
        print_line(f"{row['backbone']}.{row['part']}  {row['path']}  {row['result']}")
    bad = [row for row in rows if row["result"] != "as expected"]
    if bad:
        raise WeightsError(f"{len(bad)} of {len(rows)} weight files are not the expected ones: {bad[0]['result']}")


@command.command(
    short_help="Unpickle a checkpoint you trust into a safetensors file.",
    examples=(
        "fewshot weights convert npr.pth npr.safetensors --unsafe-pickle",
        "fewshot weights convert mine.ckpt mine.safetensors --unsafe-pickle",
    ),
)
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="SOURCE")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False), metavar="TARGET.safetensors")
@click.option("--unsafe-pickle", is_flag=True, required=True, help="Run the code in SOURCE; only for files you trust.")
def convert(source: Path, target: Path, unsafe_pickle: bool) -> None:
    """Read the checkpoint SOURCE by unpickling it, which can run any code in it, and write its tensors to TARGET.

    TARGET is a safetensors file that every other command takes without any such risk.
    """
    from fewshot.embeddings.weights.convert import convert as convert_file

    print_line(f"{convert_file(source, target)} tensors in {target}")


@command.command(
    short_help="Put a backbone and its weights into one file.",
    examples=(
        "fewshot weights pack npr --name my-npr -o my-npr.safetensors",
        "fewshot weights pack npr --weights npr=my.pth --name mine -o mine.safetensors",
    ),
)
@click.argument("backbone", metavar="BACKBONE")
@out_option(metavar="FILE.safetensors", required=True, text="The file to make.")
@click.option("--name", required=True, metavar="NAME", help="How stores will call the backbone; a name of your own.")
@weights_option
@CACHE
def pack(backbone: str, out: Path, name: str, weights: tuple[str, ...], cache: Path | None) -> None:
    """Put BACKBONE and its weights into one file that says what it is, for `fewshot embed -b FILE`.

    The file's header holds network, layers, input rule, licence and a digest of the values.
    """
    from fewshot.embeddings.backbones.creation import create
    from fewshot.embeddings.backbones.trained import require_target, write_weight_file
    from fewshot.embeddings.weights.locate import require_known, resolve

    require_target(out, name)
    made = create(backbone)
    require_known(weights, [made.card])
    reference = write_weight_file(out, made.fill(resolve(made.card, weights, cache=cache)), name=name)
    layers = ", ".join(reference.layers)
    print_line(f"{out}: {reference.name}: the network of {reference.base}, layers {layers} ({reference.licence})")


def _verified_rows(names: tuple[str, ...], cache: Path | None) -> Iterator[dict[str, Any]]:
    """Yield every file that is here with its SHA-256 in ``found``, empty where ``result`` says what is wrong."""
    from fewshot.core.errors import WeightsError
    from fewshot.embeddings.backbones.catalogue import file_row, weight_files
    from fewshot.embeddings.weights.locate import verify as verify_file

    for needed in weight_files(names):
        row = file_row(needed, cache=cache)
        if row["path"] is None:
            continue
        try:
            yield {**row, "found": verify_file(needed.file, Path(row["path"])), "result": "as expected"}
        except WeightsError as error:
            yield {**row, "found": "", "result": str(error)}


def _print_file(row: Mapping[str, Any]) -> None:
    here = row["path"] or ("not here, optional" if row["optional"] else "not here")
    print_line(f"{row['backbone']}.{row['part']}  {row['file']}  [{here}]")
    restricted = ", non-commercial use only" if row["non_commercial"] else ""
    size = "size unknown" if row["size"] is None else f"{row['size']:,} bytes"
    checksum = f"SHA-256 {row['sha256'][:16]}" if row["sha256"] else "SHA-256 pinned at first use"
    print_line(f"    {row['licence']}{restricted}; {size}; {checksum}")
    print_line(f"    {row['source']}")


def _print_paths(found: Mapping[str, Mapping[str, str]], *, as_json: bool) -> None:
    if as_json:
        print_json(found, indent=1)
        return
    for name, paths in found.items():
        for part, path in paths.items():
            print_line(f"{name}.{part}  {path}")
