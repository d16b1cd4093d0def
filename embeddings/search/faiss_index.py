"""Build, search and keep FAISS's own indexes; the only module that imports FAISS."""

import struct
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np

from fewshot.core.arrays import BoolArray, Float32Array
from fewshot.core.device import parse_device
from fewshot.core.errors import DeviceError, StoreError
from fewshot.core.regular_files import open_regular
from fewshot.embeddings.search.indexed_layer import IndexedLayer
from fewshot.embeddings.search.kinds import HNSW_LINKS, TRAINING_ROWS, pq_bytes

# Of every FAISS file: mark, dimension, rows, two unused numbers, trained or not, metric (FAISS, index_write.cpp).
_HEADER = struct.Struct("<4siqqq?i")
_MARKS = {
    "flat": (b"IxFI", b"IxF2"),
    "hnsw": (b"IHNf",),
    "ivf-flat": (b"IwFl",),
    "ivf-pq": (b"IwPQ",),
}

faiss: Any = _faiss  # its type stubs know the C++ signatures, not the Python ones


def faiss_build() -> str:
    """Return FAISS's version, the instructions it was compiled for, and how many GPUs it sees."""
    gpus = _gpus()
    return f"{faiss.__version__} ({faiss.get_compile_options().strip()}; {gpus} GPU{'' if gpus == 1 else 's'})"


def _gpus() -> int:
    """Return how many GPUs FAISS can use; its CPU build does not even ask."""
    return int(getattr(faiss, "get_num_gpus", lambda: 0)())


def build(indexed: IndexedLayer, kind: str, seed: int) -> tuple[Any, float]:
    """Return the FAISS index of all rows and the length of the longest row; filled block by block."""
    if kind == "flat":
        index = faiss.IndexFlat(indexed.dimension, _faiss_metric(indexed.metric))
        return index, _fill_flat(index, indexed)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(indexed.dimension, HNSW_LINKS, _faiss_metric(indexed.metric))
        _reserve(faiss.downcast_index(index.storage), len(indexed))
        for _, block in indexed.blocks():
            index.add(block)
    else:
        index = _trained(indexed, kind, seed)
        _fill_lists(index, indexed)
    return index, float("nan")


def _fill_flat(index: Any, indexed: IndexedLayer) -> float:
    """Read every row straight into FAISS's memory, which is taken once; return the length of the longest."""
    index.codes.resize(len(indexed) * index.code_size)
    index.ntotal = len(indexed)
    vectors = vectors_of(index)
    indexed.fill(vectors)
    return longest(vectors)


def _trained(indexed: IndexedLayer, kind: str, seed: int) -> Any:
    """Return an empty inverted-file index whose lists, and codes, were learned on a sample of the rows."""
    lists = max(1, min(int(2 * np.sqrt(len(indexed))), len(indexed) // TRAINING_ROWS))
    metric = _faiss_metric(indexed.metric)
    quantizer = faiss.IndexFlat(indexed.dimension, metric)
    if kind == "ivf-flat":
        index = faiss.IndexIVFFlat(quantizer, indexed.dimension, lists, metric)
    else:
        index = faiss.IndexIVFPQ(quantizer, indexed.dimension, lists, pq_bytes(indexed.dimension), 8, metric)
        index.pq.cp.seed = seed + 1
    index.cp.seed = seed + 1
    training = min(len(indexed), max(TRAINING_ROWS * lists, TRAINING_ROWS * 256))
    chosen = np.random.default_rng([seed, lists]).permutation(len(indexed))[:training]
    index.train(indexed.gather(np.sort(chosen)))
    return index


def _fill_lists(index: Any, indexed: IndexedLayer) -> None:
    """Assign every row first, so that each list takes its memory once; then fill the lists."""
    assigned = np.empty(len(indexed), np.int64)
    for start, block in indexed.blocks():
        assigned[start : start + len(block)] = index.quantizer.assign(block, 1)[:, 0]
    lists = faiss.downcast_InvertedLists(index.invlists)
    for number, size in enumerate(np.bincount(assigned, minlength=index.nlist)):
        lists.resize(number, int(size))
        lists.resize(number, 0)  # the memory stays
    for start, block in indexed.blocks():
        chosen = np.ascontiguousarray(assigned[start : start + len(block)])
        index.add_core(len(block), faiss.swig_ptr(block), None, faiss.swig_ptr(chosen))
    index.make_direct_map()


def _reserve(storage: Any, rows: int) -> None:
    storage.codes.resize(rows * storage.code_size)
    storage.codes.resize(0)  # the memory stays, so that adding blocks never doubles it


def read(path: Path, indexed: IndexedLayer, kind: str) -> Any:
    """Return the index in a file that ``write`` made.

    Args:
        path: the file; indexed: the rows it must hold; kind: of the index.

    Raises:
        StoreError: the file holds something else, or numbers that would lead a search out of its memory.
    """
    try:
        _require_header(path, indexed, kind)
        index = faiss.read_index(str(path))
        if not _is_whole(index, indexed, kind):
            raise ValueError("its parts do not fit together")
    except (OSError, RuntimeError, ValueError, MemoryError, struct.error) as error:
        raise StoreError(
            f"the index {path} is no {kind} index of {len(indexed)} rows of {indexed.dimension} values "
            f"({(str(error).splitlines() or ['it asks for more memory than there is'])[0]}); build it again"
        ) from error
    return index


def _require_header(path: Path, indexed: IndexedLayer, kind: str) -> None:
    """Raise ValueError unless the first bytes name the kind, the size and the metric; FAISS would trust them."""
    with open_regular(path) as stream:
        head = stream.read(_HEADER.size)
    mark, dimension, rows, *_, trained, metric = _HEADER.unpack(head)
    wanted = (indexed.dimension, len(indexed), 1, _faiss_metric(indexed.metric))
    if mark not in _MARKS[kind] or (dimension, rows, trained, metric) != wanted:
        raise ValueError("its header says something else")
    if kind == "flat" and path.stat().st_size != _HEADER.size + 8 + 4 * dimension * rows:
        raise ValueError("its size does not follow from its header")


def _is_whole(index: Any, indexed: IndexedLayer, kind: str) -> bool:
    if (index.d, index.ntotal, index.metric_type) != (
        indexed.dimension,
        len(indexed),
        _faiss_metric(indexed.metric),
    ):
        return False
    if kind == "flat":
        return isinstance(index, faiss.IndexFlat) and index.codes.size() == index.ntotal * index.code_size
    if kind == "hnsw":
        return isinstance(index, faiss.IndexHNSWFlat) and _is_graph(index, len(indexed))
    wanted = faiss.IndexIVFFlat if kind == "ivf-flat" else faiss.IndexIVFPQ
    return isinstance(index, wanted) and _are_lists(index, len(indexed)) and (kind == "ivf-flat" or _are_codes(index))


def _is_flat(index: Any, *, rows: int, dimension: int) -> bool:
    flat = faiss.downcast_index(index)
    return (
        isinstance(flat, faiss.IndexFlat)
        and (flat.ntotal, flat.d, flat.code_size) == (rows, dimension, 4 * dimension)
        and flat.codes.size() == rows * flat.code_size
    )


def _is_graph(index: Any, rows: int) -> bool:
    """Return whether every link of a graph leads to a row, and every row's links lie within the list of links."""
    graph = index.hnsw
    levels, offsets, links, slots = (
        faiss.vector_to_array(part)
        for part in (graph.levels, graph.offsets, graph.neighbors, graph.cum_nneighbor_per_level)
    )
    if len(levels) != rows or len(offsets) != rows + 1 or len(slots) < 2:
        return False
    if levels.min() < 1 or levels.max() >= len(slots) or graph.max_level != levels.max() - 1:
        return False
    return bool(
        0 <= graph.entry_point < rows
        and levels[graph.entry_point] == levels.max()
        and slots[0] == 0
        and (np.diff(slots) >= 0).all()
        and offsets[0] == 0
        and (np.diff(offsets.astype(np.int64)) == slots[levels]).all()
        and offsets[-1] == len(links)
        and ((links >= -1) & (links < rows)).all()
        and _is_flat(index.storage, rows=rows, dimension=index.d)
    )


def _are_lists(index: Any, rows: int) -> bool:
    """Return whether inverted lists hold every row once, where the map of rows says."""
    lists = faiss.downcast_InvertedLists(index.invlists)
    if not isinstance(lists, faiss.ArrayInvertedLists) or not 1 <= index.nlist <= rows or lists.nlist != index.nlist:
        return False
    if lists.code_size != index.code_size or not _is_flat(index.quantizer, rows=index.nlist, dimension=index.d):
        return False
    sizes = np.array([lists.list_size(number) for number in range(index.nlist)], np.int64)
    if sizes.sum() != rows or index.direct_map.type != faiss.DirectMap.Array:
        return False
    ids = [
        np.array(faiss.rev_swig_ptr(lists.get_ids(number), int(size))) if size else np.empty(0, np.int64)
        for number, size in enumerate(sizes)
    ]
    places = [(number << 32) + np.arange(size) for number, size in enumerate(sizes)]
    order = np.argsort(np.concatenate(ids))
    map_of_rows = faiss.vector_to_array(index.direct_map.array)
    return bool(
        np.array_equal(np.concatenate(ids)[order], np.arange(rows))
        and np.array_equal(map_of_rows, np.concatenate(places)[order])
    )


def _are_codes(index: Any) -> bool:
    """Return whether the codes of an index are those of its quantiser."""
    quantiser = index.pq
    parts = pq_bytes(index.d)
    return bool(
        (quantiser.d, quantiser.M, quantiser.nbits, index.code_size) == (index.d, parts, 8, parts)
        and quantiser.centroids.size() == quantiser.ksub * index.d
    )


def write(index: Any, path: Path) -> None:
    """Write an index to a file."""
    faiss.write_index(index, str(path))


def set_probes(index: Any, probes: int) -> None:
    """Set how many lists an inverted-file index on a GPU looks into."""
    faiss.GpuParameterSpace().set_index_parameter(index, "nprobe", probes)


def storage_of(index: Any) -> Any:
    """Return the flat index that holds the vectors of a graph."""
    return faiss.downcast_index(index.storage)


def vectors_of(index: Any) -> Float32Array:
    """Return the vectors of a flat index (R, D) float32, a view of FAISS's own memory."""
    flat: Float32Array = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d)
    return flat.reshape(index.ntotal, index.d)


def longest(vectors: Float32Array) -> float:
    """Return the length of the longest row."""
    return float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors).max()))


def efforts(index: Any, kind: str, rows: int) -> tuple[int, int]:
    """Return the first and the largest efSearch or nprobe to try."""
    return (32, max(32, min(rows, 4096))) if kind == "hnsw" else (min(8, index.nlist), int(index.nlist))


def search_parameters(kind: str, effort: int, allowed: BoolArray | None) -> Any:
    """Return FAISS's parameters of one search: the effort of its kind, and which positions may be answers."""
    chosen = {} if allowed is None else {"sel": faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))}
    if kind == "hnsw":
        return faiss.SearchParametersHNSW(efSearch=effort, **chosen)
    if kind.startswith("ivf"):
        return faiss.SearchParametersIVF(nprobe=effort, **chosen)
    return faiss.SearchParameters(**chosen) if chosen else None


def _faiss_metric(metric: str) -> Any:
    return faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT


def on_device(index: Any, kind: str, device: str) -> Any:
    """Return the index on the device: the same one on the CPU, a copy on one GPU, shards on several."""
    wanted = parse_device(device)
    gpus = _gpus()
    if wanted.kind == "cpu" or (wanted.kind == "auto" and (gpus == 0 or kind == "hnsw")):
        return index
    if (wanted.number or 0) >= gpus:
        raise DeviceError(f"--device {device}: FAISS can use {gpus} GPUs on this machine; give --device cpu")
    if kind == "hnsw":
        raise DeviceError("FAISS has no hnsw on GPUs; use --device cpu, or --index flat or ivf-flat")
    if wanted.number is not None:
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), wanted.number, index)
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True
    return faiss.index_cpu_to_all_gpus(index, co=options)
