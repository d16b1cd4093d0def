"""Tiles of the products of a pool with all support rows, small enough for the cache, and the threads that walk them.

What a head does with a product (an exponential, a sum) costs less than a trip through memory. So a thread multiplies
all support rows with a few hundred rows of the pool, and picks, weighs and sums a few trials at a time in one buffer
that it uses again and again. On the CPU every thread takes whole tiles, with one thread in each product: nobody waits
for a thread that a neighbour on the same core has slowed down.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from fewshot.core.arrays import spans

TABLE_BYTES = 1 << 24  # products of one tile: all support rows times some of the pool; a few fit the last-level cache
PICKED_BYTES = 1 << 20  # of them, those of some trials; in smaller parts Python's share of the time shows
DEVICE_BYTES = 1 << 27  # of either, on a GPU
ROWS_AT_ONCE = 4096  # of a pool, where whole rows are converted or compared
NARROWEST, WIDEST = 64, 256  # rows in a tile, in steps of 64: products whose rows are aligned are faster

Read = Callable[[slice], Tensor]  # rows of the pool -> (n, D), valid until the next call
Visit = Callable[[Tensor, slice, slice], None]  # (t, s, n) products (to be overwritten), trials, rows of the pool


def visit_products(length: int, reader: Callable[[int], Read], anchors: Tensor, columns: Tensor, visit: Visit) -> None:
    """Call ``visit`` with the products of every trial's support and every row of the pool, a tile at a time.

    Args:
        length: rows of the pool.
        reader: called in every thread with the rows of a tile; makes its buffers and returns what reads a tile.
        anchors: (U, D) all support rows, of the type that is read.
        columns: (T, s) int64: every trial's rows of ``anchors``.
        visit: called from several threads, never twice with the same trials and rows; it may overwrite the products.
    """
    shots = columns.shape[1]
    width = tile_width(length, anchors)
    step = min(len(columns), tile_length(anchors.device, anchors.element_size() * shots * width))

    def start() -> Callable[[slice], None]:
        read, table = reader(width), anchors.new_empty(len(anchors) * width)
        picked = anchors.new_empty(step * shots * width)

        def walk(block: slice) -> None:
            wide = block.stop - block.start
            products = torch.mm(anchors, read(block).T, out=_shaped(table, len(anchors), wide))
            for part in slices(len(columns), step):
                chosen = columns[part].flatten()
                found = torch.index_select(products, 0, chosen, out=_shaped(picked, len(chosen), wide))
                visit(found.view(-1, shots, wide), part, block)

        return walk

    share_out(slices(length, width), start, anchors.device)


def tile_width(length: int, anchors: Tensor) -> int:
    """How many rows of the pool one tile takes against anchors (U, D)."""
    budget, widest = (TABLE_BYTES, WIDEST) if anchors.device.type == "cpu" else (DEVICE_BYTES, 1 << 14)
    fitting = budget // (anchors.element_size() * len(anchors))
    return min(length, max(NARROWEST, min(widest, fitting // NARROWEST * NARROWEST)))


def tile_length(device: torch.device, each: int) -> int:
    """How many items of ``each`` bytes one step takes: what stays in the cache on the CPU, more on a GPU."""
    return max(1, (PICKED_BYTES if device.type == "cpu" else DEVICE_BYTES) // each)


def slices(length: int, step: int) -> Iterator[slice]:
    """Yield the slices of so many items."""
    return (slice(*span) for span in spans(length, step))


def share_out(blocks: Iterable[slice], start: Callable[[], Callable[[slice], None]], device: torch.device) -> None:
    """Run work on every block in as many threads as torch would use, each of which computes alone.

    On a GPU, and where there is nothing to share, it runs in the caller's thread.

    Args:
        blocks: which part of the work each step does.
        start: called once in every thread; makes its buffers and returns what works on a block.
        device: where the work computes.
    """
    left = list(blocks)
    threads = torch.get_num_threads()
    workers = min(threads, len(left)) if device.type == "cpu" else 1
    queue = iter(left)  # the next of a list is one step under the interpreter lock

    def work() -> None:
        do = start()
        for block in queue:
            do(block)

    if workers < 2:
        work()
        return
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for done in [pool.submit(work) for _ in range(workers)]:
                done.result()
    finally:
        torch.set_num_threads(threads)  # the number is each thread's own, but new threads start with the last one set


def _shaped(buffer: Tensor, rows: int, columns: int) -> Tensor:
    return buffer[: rows * columns].view(rows, columns)
