"""What every protocol is: a frozen dataclass whose fields are the whole configuration, run on a store."""

from abc import ABC, abstractmethod
from typing import ClassVar

from fewshot.core.registry import Registry
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.results.report import Report

PROTOCOLS = Registry(group="fewshot.protocols", kind="protocol")


class Protocol(ABC):
    """One published experiment. Members are frozen dataclasses; their fields are written into the report."""

    name: ClassVar[str]

    @abstractmethod
    def run(self, store: FeatureStore) -> Report:
        """Run the experiment on a store.

        Raises:
            EpisodeError: too few images for the draw.
            UnknownNameError: a backbone, layer, head or column is not there.
        """
