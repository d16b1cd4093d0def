"""What all requests share: the detector with its thread, uploads, files, and whether more are taken."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.core.errors import OptionError, OutputError
from fewshot.core.outputs import AUDIT_LOG, FEEDBACK, Output, require_outputs
from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judged
from fewshot.detector.scorer import Scorer
from fewshot.detector.stability import DEFAULT as RE_ENCODINGS
from fewshot.detector.summary import to_json
from fewshot.service.batching import Judge
from fewshot.service.feedback import Feedback, FeedbackFile
from fewshot.service.limits import Limits
from fewshot.service.metrics import Metrics
from fewshot.service.problems import INVALID, LOG, UNAVAILABLE, Problem, image_problem
from fewshot.service.provenance import Provenance
from fewshot.service.spool import Spool
from fewshot.service.uploads import Upload
from fewshot.service.verdict_log import VerdictLog

_MOST_SCORES = 500


class Service:
    """One detector at the service of many requests. Arguments and errors as for ``create_app``."""

    def __init__(
        self,
        detector: Detector | Path | str,
        *,
        shadow: Detector | Path | str | None,
        weights: Sequence[str],
        device: str,
        workers: int,
        limits: Limits,
        log: Path | str | None,
        feedback: Path | str | None,
    ) -> None:
        if workers < 1:
            raise OptionError(f"--workers {workers}: give at least 1, for images of others are decoded in processes")
        self.detector, other = _loaded(detector), None if shadow is None else _loaded(shadow)
        _require_files(log, feedback, inputs=[self.detector.path, other.path if other else None])
        self.limits = limits
        self.metrics = Metrics(self.detector, other)
        self.spool = Spool(limits)
        self.provenance = Provenance()
        # A detector whose heads look at several views has nothing that re-encodings could be compared with.
        self.offers_stability = all(len(member.views) == 1 for member in self.detector.description.members)
        options: dict[str, Any] = {
            "weights": weights,
            "device": device,
            "workers": workers,
            "decode_seconds": float(limits.decode_seconds),
        }
        scorer = Scorer(self.detector, views=RE_ENCODINGS if self.offers_stability else (), **options)
        self._log = VerdictLog(log)
        self._feedback = None if feedback is None else FeedbackFile(feedback)
        self.judge = Judge(
            scorer,
            None if other is None else Scorer(other, **options),
            limits=limits,
            metrics=self.metrics,
            log=self._log,
        )
        self.named = {"name": self.detector.name, "digest": self.detector.digest}
        self.description = _described(self.detector, limits, self._offers())
        self.stopping = False
        self.metrics.watch("fewshot_queue_images", "Images that wait.", lambda: self.judge.waiting_images)
        self.metrics.watch("fewshot_requests_under_way", "Requests with images.", lambda: self.spool.requests)
        self.metrics.watch("fewshot_spool_bytes", "Bytes of uploads on the disk.", lambda: self.spool.bytes)

    def start(self) -> None:
        """Open what is shared, and start the thread that judges."""
        self.spool.open()
        self.judge.start()

    def stop(self) -> None:
        """End the thread, and remove and close what is open."""
        self.stopping = True
        self.judge.stop()
        self.provenance.close()
        self.spool.close()
        self._log.close()
        if self._feedback is not None:
            self._feedback.close()

    def require_alive(self) -> None:
        """Refuse where only a new process helps.

        Raises:
            Problem: so.
        """
        if self.judge.broken:
            raise Problem(UNAVAILABLE, "the thread that judges has ended; start the service again")

    def require_ready(self) -> None:
        """Refuse where requests should be sent elsewhere, or later.

        Raises:
            Problem: so.
        """
        self.require_alive()
        if self.stopping:
            raise Problem(UNAVAILABLE, "the service is being stopped", 5)
        if not self.judge.ready.is_set():
            raise Problem(UNAVAILABLE, "the service is starting", 1)

    def require_taking(self, *, stability: bool, provenance: bool) -> None:
        """Refuse a request with images before they are received, where they would not be judged.

        Raises:
            Problem: the service is not ready, has no room, or does not offer what is asked for.
        """
        self.require_ready()
        if stability and not self.offers_stability:
            raise Problem(INVALID, "stability: this detector looks at several views of an image itself; leave it out")
        if provenance:
            self.provenance.require_offered()
        self.judge.require_room(1)

    def result(self, upload: Upload, judged: Judged) -> dict[str, Any]:
        """Return what is answered of one image."""
        if judged.judgement is None:
            problem = image_problem(judged.failure, path=str(upload.path), name=upload.name)
            return {"image": upload.name, "problem": problem}
        return {"image": upload.name, "sha256": judged.file_sha256, **judged.judgement.to_json()}

    def keep_feedback(self, said: Feedback) -> None:
        """Append feedback to its file.

        Raises:
            Problem: it cannot be written.
        """
        assert self._feedback is not None
        try:
            self._feedback.append(said, detector=self.detector.digest)
        except OutputError as error:
            LOG.error("feedback was not kept: %s", error)
            raise Problem(UNAVAILABLE, "the feedback cannot be kept now; the service's log says why", 5) from error
        self.metrics.feedback.labels(said.label).inc()

    def _offers(self) -> dict[str, bool]:
        return {
            "stability": self.offers_stability,
            "provenance": self.provenance.offered,
            "feedback": self._feedback is not None,
        }


def _loaded(detector: Detector | Path | str) -> Detector:
    return detector if isinstance(detector, Detector) else Detector.load(detector)


def _require_files(log: Path | str | None, feedback: Path | str | None, *, inputs: Sequence[Path | None]) -> None:
    outputs = [
        Output(None if log is None else Path(log).expanduser(), AUDIT_LOG, "--log"),
        Output(None if feedback is None else Path(feedback).expanduser(), FEEDBACK, "--feedback"),
    ]
    require_outputs(outputs, inputs=inputs)


def _described(detector: Detector, limits: Limits, offers: dict[str, bool]) -> dict[str, Any]:
    scores = np.sort(detector.calibration_scores)
    if len(scores) > _MOST_SCORES:
        scores = np.quantile(scores, np.linspace(0.0, 1.0, _MOST_SCORES))
    described = to_json(detector)
    return {
        **described,
        "path": None if detector.path is None else detector.path.name,  # where it lies here is nobody's business
        "calibration_scores": scores.tolist(),
        "limits": limits.to_json(),
        "offers": offers,
    }
