"""Where tests find ../shared, and the rule that its presence allows no skip."""

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent


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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]"):  # type: ignore[no-untyped-def]
    """Turn a skip into a failure where ../shared is present: a skipped golden proves nothing."""
    outcome = yield
    report = outcome.get_result()
    allowed = item.get_closest_marker("gpu") is not None
    if report.skipped and not allowed and shared_folder() is not None and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although ../shared is present: {report.longrepr}"
