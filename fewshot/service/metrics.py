"""What a service counts, for Prometheus: requests, images by verdict, batches, the queue, agreement with the shadow."""

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector

from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judged

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
FAILED = "failed"


class Metrics:
    """The counters of one application, in a registry of its own."""

    def __init__(self, detector: Detector, shadow: Detector | None) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        made: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("fewshot_requests", "Answered requests.", ["route", "status"], **made)
        self.gone = Counter("fewshot_disconnects", "Clients that left before their answer.", **made)
        self.seconds = Histogram(
            "fewshot_request_seconds", "From request to answer.", ["route"], buckets=_SECONDS, **made
        )
        self.images = Counter("fewshot_images", "Judged images by verdict; failed ones too.", ["verdict"], **made)
        self.unknown = Counter("fewshot_unknown_images", "Judged images unlike all known ones.", **made)
        self.batches = Histogram("fewshot_batch_images", "Images that were judged together.", buckets=_IMAGES, **made)
        self.busy = Counter("fewshot_scorer_seconds", "Seconds that the scorer's thread worked.", **made)
        self.shadow = Counter(
            "fewshot_shadow_images", "Images by verdict and by that of the shadow.", ["verdict", "shadow"], **made
        )
        self.feedback = Counter("fewshot_feedback", "Feedback that was kept, by label.", ["label"], **made)
        served = Gauge("fewshot_detector_info", "Which detectors judge.", ["role", "name", "digest"], **made)
        served.labels("detector", detector.name, detector.digest).set(1)
        if shadow is not None:
            served.labels("shadow", shadow.name, shadow.digest).set(1)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a number that is looked up whenever the metrics are read."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def judged(self, found: Sequence[Judged], *, seconds: float) -> None:
        """Count what the detector said of a batch."""
        self.batches.observe(len(found))
        self.busy.inc(seconds)
        for each in found:
            self.images.labels(verdict_of(each)).inc()
            if each.judgement is not None and each.judgement.unknown:
                self.unknown.inc()

    def compared(self, found: Sequence[Judged], shadow: Sequence[Judged], *, seconds: float) -> None:
        """Count where the shadow agrees."""
        self.busy.inc(seconds)
        for one, other in zip(found, shadow, strict=True):
            self.shadow.labels(verdict_of(one), verdict_of(other)).inc()

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)


def verdict_of(judged: Judged) -> str:
    """Return the verdict, or that there is none."""
    return FAILED if judged.judgement is None else judged.judgement.verdict
