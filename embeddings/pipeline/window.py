"""How many images are under way between dispatch and consumption."""

import threading


class Window:
    """How many jobs are under way between dispatch and consumption, so that memory stays bounded."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._under_way = 0
        self.stopped = False

    def take(self, count: int, *, limit: int, wait: bool) -> bool:
        """Add ``count`` if there is room, waiting for it if that is wanted; return whether they were added."""
        with self._condition:
            while wait and not self.stopped and self._under_way and self._under_way + count > limit:
                self._condition.wait(timeout=0.5)
            if self.stopped or (self._under_way and self._under_way + count > limit):
                return False
            self._under_way += count
            return True

    def consumed(self, count: int) -> None:
        """Make room."""
        with self._condition:
            self._under_way -= count
            self._condition.notify_all()

    def stop(self) -> None:
        """Let the receiving thread end."""
        with self._condition:
            self.stopped = True
            self._condition.notify_all()
