"""Where the time of an extraction goes."""

from dataclasses import asdict, dataclass


@dataclass
class Timing:
    """Where the time went, in seconds; those of workers are summed over workers, those of devices over devices."""

    read: float = 0.0
    decode: float = 0.0
    preprocess: float = 0.0
    forward: float = 0.0
    write: float = 0.0
    wall: float = 0.0
    start: float = 0.0

    def add(self, seconds: tuple[float, float, float]) -> None:
        """Count one image's reading, decoding and preprocessing."""
        self.read += seconds[0]
        self.decode += seconds[1]
        self.preprocess += seconds[2]

    def __iadd__(self, other: "Timing") -> "Timing":
        for name, seconds in asdict(other).items():
            setattr(self, name, getattr(self, name) + seconds)
        return self

    def __sub__(self, other: "Timing") -> "Timing":
        return Timing(**{name: seconds - getattr(other, name) for name, seconds in asdict(self).items()})

    def split(self) -> str:
        """Return where the time went, in words."""
        parts = {name: getattr(self, name) for name in ("read", "decode", "preprocess", "forward", "write")}
        listed = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts.items())
        return f"{self.wall:.1f} s after {self.start:.1f} s of start: {listed} (read to preprocess summed over workers)"

    def advice(self, workers: int) -> str:
        """Return one line on what would make it faster.

        Args:
            workers: decoding processes; 0 means that decoding and forward took turns.
        """
        before = self.read + self.decode + self.preprocess
        largest = max(("read", "decode", "preprocess"), key=lambda name: getattr(self, name))
        if before / max(workers, 1) > self.forward:
            return f"{largest}-bound: raise --workers (now {workers}), up to the number of processor cores"
        return "forward-bound: a GPU, a lighter backbone or fewer views would make it faster, more --workers would not"
