"""Where tests find ../shared, and the rule that its presence allows no skip."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fewshot.embeddings.backbones.base import Backbone

_ROOT = Path(__file__).resolve().parent.parent
# The longest of the fast files, by the minute and more: one that began last would leave the other processes idle.
_LONGEST = (
    "tests/test_docs_run.py",
    "tests/contracts/test_backbones.py",
    "tests/demo/test_story.py",
    "tests/contracts/test_engines.py",
    "tests/heads/test_acm.py",
    "tests/golden/test_fiser_protocol.py",
    "tests/embeddings/test_hostile.py",
    "tests/golden/test_golden.py",
    "tests/contracts/test_heads.py",
    "tests/test_startup.py",
)


def shared_folder() -> Path | None:
    """Return ../shared (or FEWSHOT_SHARED) when it is there."""
    folder = Path(os.environ.get("FEWSHOT_SHARED", _ROOT.parent / "shared"))
    return folder if (folder / "golden").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ../shared; without it the test is skipped."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no ../shared beside the project and FEWSHOT_SHARED is not set")
    return folder


@pytest.fixture(scope="session")
def quickly_filled() -> Callable[..., "Backbone"]:
    """Return a function of a backbone's name and a device that gives it with seeded values, in a second for a ViT-L.

    One block of values is repeated, for the recipe's filler takes longer than the network; its length is prime, so that
    no two rows of a matrix are alike. What a constructor computes (masks, filters) stays.
    """

    def filled(spec: str, device: str = "cpu") -> "Backbone":
        import torch

        from fewshot.embeddings.backbones.creation import create
        from fewshot.embeddings.weights.unset import UnsetParameters

        backbone = create(spec)
        with UnsetParameters():
            network = backbone.build().eval().requires_grad_(False)
        block = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0))
        for name, parameter in network.named_parameters():
            values = block.repeat(-(-parameter.numel() // len(block)))[: parameter.numel()].view_as(parameter)
            if parameter.ndim >= 2 and not parameter.any():
                parameter.copy_(values).mul_(parameter[0].numel() ** -0.5)
            elif parameter.ndim == 1:
                parameter.copy_(1 + 0.1 * values if name.endswith("weight") else 0.1 * values)
        backbone.network = network.to(device)
        backbone.device = torch.device(device)
        backbone.filled()
        return backbone

    return filled


def pytest_configure() -> None:
    """Let tests interrupt what they start: a shell that starts pytest in the background makes all below ignore that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # by nohup: a handler is not inherited, and pytest lives on
        signal.signal(signal.SIGHUP, lambda number, frame: None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without such a test where the slow ones, or those of a GPU, are run: imports take their time."""
    wanted = str(config.option.markexpr).partition(" ")[0]
    if wanted not in ("slow", "gpu") or not collection_path.name.startswith("test_") or collection_path.is_dir():
        return None
    marking = (collection_path, collection_path.with_name("conftest.py"))
    return None if any(f"mark.{wanted}" in file.read_text("utf-8") for file in marking if file.exists()) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, those with a long timeout in front: no process is to end with one of them alone."""
    longest = {_ROOT / name: len(_LONGEST) - place for place, name in enumerate(_LONGEST)}
    slowest: dict[Path, float] = {}
    for item in items:
        allowed = item.get_closest_marker("timeout")
        slowest[item.path] = max(slowest.get(item.path, 0.0), float(allowed.args[0]) if allowed else 0.0)
    items.sort(key=lambda item: (-slowest[item.path], -longest.get(item.path, 0)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]"):  # type: ignore[no-untyped-def]
    """Turn a skip into a failure where ../shared is present: a skipped golden proves nothing."""
    outcome = yield
    report = outcome.get_result()
    allowed = item.get_closest_marker("gpu") is not None
    if report.skipped and not allowed and shared_folder() is not None and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although ../shared is present: {report.longrepr}"
