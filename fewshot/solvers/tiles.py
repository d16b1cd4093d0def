"""Tiles of the products of a pool with all support rows, small enough for the cache, and the threads that walk them.

What a head does with a product (an exponential, a sum) costs less than a trip through memory. So a thread multiplies
all support rows with a few hundred rows of the pool, and picks, weighs and sums a few trials at a time in one buffer
that it uses again and again. On the CPU every thread takes whole tiles, with one thread in each product: nobody waits
for a thread that a neighbour on the same core has slowed down.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from fewshot.core.arrays import spans

TABLE_BYTES = 1 << 24  # products of one tile: all support rows times some of the pool
PICKED_BYTES = 1 << 18  # of them, those of a few trials: half of a common second-level cache
DEVICE_BYTES = 1 << 27  # of either, on a GPU
NARROWEST, WIDEST = 64, 512  # rows of the pool in a tile on the CPU

Visit = Callable[[Tensor, slice, slice], None]  # (t, s, n) products (to be overwritten), trials, rows of the pool


def visit_products(rows: Tensor, anchors: Tensor, columns: Tensor, visit: Visit) -> None:
    """Call ``visit`` with the products of every trial's support and every row of the pool, a tile at a time.

    Args:
        rows: (N, D) the pool.
        anchors: (U, D) all support rows, of the same type.
        columns: (T, s) int64: every trial's rows of ``anchors``.
        visit: called from several threads, never twice with the same trials and rows; it may overwrite the products.
    """
    on_cpu = rows.device.type == "cpu"
    widest = WIDEST if on_cpu else 1 << 14
    budget = TABLE_BYTES if on_cpu else DEVICE_BYTES
    width = min(len(rows), max(NARROWEST, min(widest, budget // (rows.element_size() * len(anchors)))))
    blocks = iter([slice(*span) for span in spans(len(rows), width)])
    in_own_threads(lambda: _walk(blocks, rows, anchors, columns, visit, width), rows.device, -(-len(rows) // width))


def in_own_threads(work: Callable[[], None], device: torch.device, most: int) -> None:
    """Run ``work`` in as many threads as torch would use, at most ``most``, each of which computes alone.

    The work shares what is to be done among its threads itself. On a GPU, and where one thread is all there is, it
    runs in the caller's.
    """
    threads = torch.get_num_threads()
    workers = min(threads, most)
    if device.type != "cpu" or workers < 2:
        work()
        return
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for done in [pool.submit(work) for _ in range(workers)]:
                done.result()
    finally:
        torch.set_num_threads(threads)  # the number is each thread's own, but new threads start with the last one set


def _walk(blocks: Iterator[slice], rows: Tensor, anchors: Tensor, columns: Tensor, visit: Visit, width: int) -> None:
    trials, shots = columns.shape
    bytes_ = PICKED_BYTES if rows.device.type == "cpu" else DEVICE_BYTES
    step = min(trials, max(1, bytes_ // (rows.element_size() * shots * width)))
    table, picked = rows.new_empty(len(anchors) * width), rows.new_empty(step * shots * width)
    for block in blocks:
        wide = block.stop - block.start
        products = table[: len(anchors) * wide].view(len(anchors), wide)
        torch.mm(anchors, rows[block].T, out=products)
        for first in range(0, trials, step):
            part = slice(first, min(trials, first + step))
            chosen = columns[part].flatten()
            found = picked[: len(chosen) * wide].view(len(chosen), wide)
            torch.index_select(products, 0, chosen, out=found)
            visit(found.view(-1, shots, wide), part, block)
