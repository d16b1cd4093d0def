"""Reports that were saved before all protocols replayed: they are read, and their numbers come out again.

They were written by the version that called a head ``shipped`` and a validation ``carved``, on the store of
``tests/contracts/protocol_store.py``.
"""

from pathlib import Path

import pytest

from fewshot.core.errors import ReportError
from fewshot.protocols.replay import replay
from fewshot.protocols.trials.stores_read import WHOLE_STORE
from fewshot.results.report import Report
from tests.contracts.protocol_store import protocol_store

REPORTS = Path(__file__).parent / "reports"
WITHOUT_PATH = ("robustness", "attribution")  # which recorded no more than the digest of the whole store
TRAINED = 0.05  # attribution trains networks, which round differently on another machine


def _tolerance(protocol: str) -> float:
    return TRAINED if protocol == "attribution" else 1e-6


@pytest.mark.parametrize("protocol", ["fiser", "nearest", "robustness", "attribution"])
def test_an_old_report_comes_out_again(tmp_path: Path, protocol: str) -> None:
    store = protocol_store(tmp_path / "store.h5")
    found = replay(Report.load(REPORTS / f"{protocol}.json"), stores=[store.path], tolerance=_tolerance(protocol))
    assert found.equal, str(found)
    assert found.supports_equal


@pytest.mark.parametrize("protocol", WITHOUT_PATH)
def test_an_old_report_without_a_path_asks_for_the_store(protocol: str) -> None:
    with pytest.raises(ReportError, match="does not say where its store lies; name it with --store"):
        replay(Report.load(REPORTS / f"{protocol}.json"))


@pytest.mark.parametrize(
    ("protocol", "changed"),
    [
        ("fiser", "net/pooled"),
        ("nearest", "net/pooled"),
        ("robustness", WHOLE_STORE),
        ("attribution", WHOLE_STORE),
    ],
)
def test_an_old_report_of_a_changed_store_says_what_changed(tmp_path: Path, protocol: str, changed: str) -> None:
    store = protocol_store(tmp_path / "store.h5", shift=3.0)
    found = replay(Report.load(REPORTS / f"{protocol}.json"), stores=[store.path], tolerance=_tolerance(protocol))
    assert found.changed == (changed,)
    assert not found.equal


def test_old_names_of_heads_are_read_as_those_of_today() -> None:
    heads = {row.head for name in WITHOUT_PATH for row in Report.load(REPORTS / f"{name}.json").rows}
    assert heads == {"svm", "pretrained", "acm:natural", "acm:natural, held-out", "rbf-svm"}
