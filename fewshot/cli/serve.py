"""``fewshot serve``: a detector over HTTP, with a page for people and an API for programs."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import device_option, json_option, log_option, quiet_option, weights_option
from fewshot.cli.reporting import print_json, print_line, print_note

if TYPE_CHECKING:
    from fewshot.service.service import Service

_PATH = click.Path(path_type=Path)
_EXTRA = 'serving needs packages that are not installed ({}); pip install "fewshot[serve]" installs them'


@click.command(
    cls=Command,
    short_help="A detector over HTTP, with a page to try it.",
    examples=("fewshot serve mine.detector", "fewshot serve mine.detector --port 0 --log audit.jsonl"),
)
@click.argument("detector", type=_PATH, metavar="DETECTOR")
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen at; there is no login."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    metavar="N",
    help="Port; 0 takes a free one.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="A further name by which the service may be called, as a proxy passes it on. Repeatable.",
)
@click.option("--shadow", type=_PATH, metavar="DETECTOR", help="Another detector that judges the same images unseen.")
@log_option
@click.option("--feedback", type=_PATH, metavar="FILE.jsonl", help="Take what people say of verdicts, and append it.")
@weights_option
@device_option(default="auto")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that decode images.",
)
@click.option(
    "limits", "--limit", multiple=True, metavar="NAME=NUMBER", help="Change a limit, for example image_bytes=50000000."
)
@quiet_option
@json_option
def command(detector: Path, host: str, port: int, quiet: bool, as_json: bool, **options: Any) -> None:
    """Judge images that are sent to NAME.detector over HTTP, and show a page to try it in a browser.

    The address is printed once images are taken; --json prints it as JSON. SIGTERM and Ctrl-C let running requests end.
    There is no login: whoever reaches the address can use it.
    """
    from fewshot.core.errors import FewshotError, OptionError
    from fewshot.core.signals import terminate_as_interrupt

    try:
        from fewshot.service.app import create_app
        from fewshot.service.limits import Limits
        from fewshot.service.server import bound_socket, serve, url_of
    except ModuleNotFoundError as error:
        raise OptionError(_EXTRA.format(error.name)) from error
    limits = Limits.of(options.pop("limits"))
    hosts = _names(host, options.pop("allow_hosts"))
    with bound_socket(host, port) as bound, terminate_as_interrupt():
        if hosts is None and not quiet:
            print_note(f"warning: {host} is not loopback: whoever reaches it can use the service, without a login")
        _log_to_stderr()
        app = create_app(detector, limits=limits, hosts=hosts, **options)
        cut_off = serve(app, bound, started=_started(app.state.service, url_of(bound), as_json))
    if cut_off:
        raise FewshotError(
            f"{cut_off} requests were cut off when the service was stopped; --limit stop_seconds=NUMBER waits longer"
        )


def _names(host: str, further: tuple[str, ...]) -> list[str] | None:
    """Return the names by which the service may be called, None for all of them."""
    from fewshot.service.guard import LOOPBACK_NAMES

    if not _is_loopback(host):
        return None if not further else [*LOOPBACK_NAMES, host, *further]
    return [*LOOPBACK_NAMES, f"[{host}]" if ":" in host else host, *further]


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _started(service: "Service", url: str, as_json: bool) -> Callable[[], None]:
    def told() -> None:
        if as_json:
            print_json({"url": url, "detector": service.named})
        else:
            print_line(f"{service.detector.name} is served at {url} until Ctrl-C")

    return told


class _Notes(logging.Handler):
    """Shows what the service and its server log, a line each, without the characters that a terminal obeys."""

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).splitlines():
            print_note(line)


def _log_to_stderr() -> None:
    for name in ("fewshot.service", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_Notes()], False
