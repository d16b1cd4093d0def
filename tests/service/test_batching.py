"""The queue before the scorer's thread, with a scorer that waits until it is let go."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from fewshot.core.errors import WeightsError
from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judged
from fewshot.service.batching import Judge
from fewshot.service.limits import Limits
from fewshot.service.metrics import Metrics
from fewshot.service.problems import Problem
from fewshot.service.spool import Spool
from fewshot.service.uploads import Upload
from fewshot.service.verdict_log import VerdictLog

PATIENCE_SECONDS = 30.0


class HeldScorer:
    """Says of each file that it cannot be judged, once it is let go; keeps which it saw together."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.go = threading.Event()
        self.entered = threading.Event()
        self.batches: list[tuple[list[str], bool]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.go.set()

    def images(self, images: Sequence[Any]) -> list[Judged]:
        return []

    def stream(self, paths: Sequence[Path], *, re_encoded: bool, together: int) -> list[Judged]:
        self.batches.append(([path.name for path in paths], re_encoded))
        self.entered.set()
        assert self.go.wait(PATIENCE_SECONDS)
        if any(path.name == "poison" for path in paths):
            raise WeightsError("this machine's secret path")
        return [Judged(path.name, None, failure="empty: nothing in it") for path in paths]


@contextmanager
def judging(detector: Detector, limits: Limits) -> Iterator[tuple[Judge, HeldScorer]]:
    scorer = HeldScorer(detector)
    judge = Judge(
        scorer,  # type: ignore[arg-type]  # a fake of the three methods that are used
        None,
        limits=limits,
        metrics=Metrics(detector, None),
        log=VerdictLog(None),
    )
    judge.start()
    try:
        yield judge, scorer
    finally:
        scorer.go.set()
        judge.stop()


def uploads(*names: str) -> list[Upload]:
    return [Upload(name, Path(name)) for name in names]


def submitted(judge: Judge, *names: str, re_encoded: bool = False, release: Callable[[], None] = lambda: None) -> Any:
    return judge.submit(uploads(*names), re_encoded=re_encoded, release=release)


def names_of(answer: Any) -> list[str]:
    return [judged.image for judged in answer.result(PATIENCE_SECONDS)]


def test_requests_that_wait_are_judged_together_and_each_gets_its_own(detector: Detector) -> None:
    with judging(detector, Limits(batch_images=4)) as (judge, scorer):
        first = submitted(judge, "a")
        scorer.entered.wait(PATIENCE_SECONDS)
        later = [submitted(judge, "b", "c"), submitted(judge, "d"), submitted(judge, "e", "f")]
        scorer.go.set()
        assert names_of(first) == ["a"]
        assert [names_of(answer) for answer in later] == [["b", "c"], ["d"], ["e", "f"]]
    assert [names for names, _ in scorer.batches] == [["a"], ["b", "c", "d"], ["e", "f"]]


def test_those_with_re_encodings_are_judged_apart_in_their_turn(detector: Detector) -> None:
    with judging(detector, Limits()) as (judge, scorer):
        answers = [submitted(judge, "a")]
        scorer.entered.wait(PATIENCE_SECONDS)
        answers += [submitted(judge, "b"), submitted(judge, "c", re_encoded=True), submitted(judge, "d")]
        scorer.go.set()
        assert [names_of(answer) for answer in answers] == [["a"], ["b"], ["c"], ["d"]]
    assert scorer.batches[1:] == [(["b"], False), (["c"], True), (["d"], False)]


def test_a_full_queue_refuses_with_the_time_to_come_back_and_takes_again(detector: Detector) -> None:
    with judging(detector, Limits(queue_images=2)) as (judge, scorer):
        answers = [submitted(judge, "a")]
        scorer.entered.wait(PATIENCE_SECONDS)
        answers.append(submitted(judge, "b", "c"))
        with pytest.raises(Problem) as refused:
            submitted(judge, "d")
        assert (refused.value.status, refused.value.retry_seconds) == (429, 1)
        scorer.go.set()
        assert [names_of(answer) for answer in answers] == [["a"], ["b", "c"]]
        assert names_of(submitted(judge, "d")) == ["d"]


def test_images_of_a_client_that_left_are_not_judged_and_leave_room(detector: Detector) -> None:
    released: list[str] = []
    with judging(detector, Limits(queue_images=2)) as (judge, scorer):
        first = submitted(judge, "a")
        scorer.entered.wait(PATIENCE_SECONDS)
        gone = submitted(judge, "b", "c", release=lambda: released.append("b, c"))
        assert gone.cancel()
        assert judge.waiting_images == 0
        last = submitted(judge, "d", "e")
        scorer.go.set()
        assert (names_of(first), names_of(last)) == (["a"], ["d", "e"])
    assert [names for names, _ in scorer.batches] == [["a"], ["d", "e"]]
    assert released == ["b, c"]


def test_a_request_at_which_the_batch_fails_fails_alone_and_without_our_words(detector: Detector) -> None:
    with judging(detector, Limits()) as (judge, scorer):
        first = submitted(judge, "a")
        scorer.entered.wait(PATIENCE_SECONDS)
        good, bad, after = submitted(judge, "b"), submitted(judge, "poison"), submitted(judge, "c")
        scorer.go.set()
        assert [names_of(answer) for answer in (first, good, after)] == [["a"], ["b"], ["c"]]
        problem = bad.exception(PATIENCE_SECONDS)
    assert isinstance(problem, Problem)
    assert problem.status == 503
    assert "secret" not in problem.detail


def test_who_waits_when_the_service_ends_is_told_so(detector: Detector) -> None:
    with judging(detector, Limits()) as (judge, scorer):
        running = submitted(judge, "a")
        scorer.entered.wait(PATIENCE_SECONDS)
        waiting = submitted(judge, "b")
        ending = threading.Thread(target=judge.stop)
        ending.start()
        while not judge._ending:  # it is set at once
            pass
        scorer.go.set()
        ending.join(PATIENCE_SECONDS)
        assert names_of(running) == ["a"]
        with pytest.raises(Problem, match="judges no more") as refused:
            waiting.result(PATIENCE_SECONDS)
        assert refused.value.status == 503
        with pytest.raises(Problem):
            submitted(judge, "c")


def test_files_stay_until_everyone_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool(Limits(requests=1, spool_bytes=10))
    spool.open()
    spooled = spool.admit()
    (spooled.folder / "1").write_bytes(b"12345")
    spooled.take(5)
    spooled.hold()
    with pytest.raises(Problem) as full:
        spool.admit()
    with pytest.raises(Problem) as too_much:
        spooled.take(6)
    spooled.release()
    assert (spooled.folder / "1").exists()
    spooled.release()
    assert (full.value.status, too_much.value.status) == (429, 503)
    assert not spooled.folder.exists()
    assert (spool.requests, spool.bytes) == (0, 0)
    spool.close()
    assert not list(tmp_path.iterdir())


def test_a_cancelled_answer_stays_cancelled(detector: Detector) -> None:
    with judging(detector, Limits()) as (judge, scorer):
        submitted(judge, "a")
        scorer.entered.wait(PATIENCE_SECONDS)
        gone = submitted(judge, "b")
        gone.cancel()
        with pytest.raises(CancelledError):
            gone.result(PATIENCE_SECONDS)
