"""How much each part does: on a card, and in the dry run that walks the same code on a CPU."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The sizes of every part.

    Args:
        dry: whether this is the dry run on the CPU.
        device: what is measured, ``cuda:0`` or ``cpu``.
        specs: backbones whose parity is checked; None means every light one and a ViT-L.
        networks: (backbone, images) of the throughput part.
        side: of the JPEG images, in pixels.
        backoff_images, backoff_batch: images of the back-off part, and the batch that cannot fit.
        trials, loop_trials, queries, dimension: of the few-shot part; scikit-learn's loop runs ``loop_trials``.
        pass_rows: rows of the attribution pass.
        index_rows, index_queries: of the nearest-neighbour part.
        shared_images: images of the part with two processes on one device.
    """

    dry: bool
    device: str
    specs: tuple[str, ...] | None
    networks: tuple[tuple[str, int], ...]
    side: int
    backoff_images: int
    backoff_batch: int
    trials: int
    loop_trials: int
    queries: int
    dimension: int
    pass_rows: int
    index_rows: int
    index_queries: int
    shared_images: int


CARD = Sizes(
    dry=False,
    device="cuda:0",
    specs=None,
    networks=(("clip:ViT-L-14:openai", 4096), ("clip:ViT-B-32:openai", 4096), ("npr", 2048), ("ferretnet", 2048)),
    side=512,
    backoff_images=2048,
    backoff_batch=4096,
    trials=1000,
    loop_trials=30,
    queries=10_000,
    dimension=768,
    pass_rows=72_000,
    index_rows=500_000,
    index_queries=1000,
    shared_images=2048,
)
DRY = Sizes(
    dry=True,
    device="cpu",
    specs=("npr", "ferretnet", "freqnet", "timm:test_vit.r160_in1k", "torchvision:mobilenet_v3_small"),
    networks=(("timm:test_vit.r160_in1k", 12), ("timm:test_resnet.r160_in1k", 12)),
    side=256,
    backoff_images=12,
    backoff_batch=8,
    trials=8,
    loop_trials=4,
    queries=200,
    dimension=16,
    pass_rows=2048,
    index_rows=2000,
    index_queries=20,
    shared_images=12,
)
