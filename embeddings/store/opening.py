"""Open a store, or say why it cannot be read and what to do about it."""

from pathlib import Path
from typing import Any

from fewshot.core.errors import StoreError
from fewshot.core.looked_for import looked_for
from fewshot.core.regular_files import require_regular
from fewshot.embeddings.store.hdf5_objects import open_hdf5
from fewshot.embeddings.store.read_errors import cannot_read
from fewshot.embeddings.store.root import require_known


def require_sealed(path: Path) -> None:
    """Raise unless ``path`` says that it is a sealed store of a version that is known here.

    This reads the attributes of its root alone; ``structure.read_structure`` checks everything else, before a value is
    read.

    Raises:
        StoreError: no such file, not a regular file, not a store, not sealed, of a newer version, or not readable now.
    """
    with open_file(path) as file:
        require_known(file, path)


def open_file(path: Path) -> Any:
    """Return the open h5py file.

    Raises:
        StoreError: no such file, not a regular file, not HDF5, or not readable now; each with its own remedy.
    """
    try:
        require_regular(path)
    except FileNotFoundError as error:
        if path.with_name(path.name + ".parts").is_dir():
            raise StoreError(f"{path} is not finished; run the same `fewshot embed ... -o {path}` again") from error
        raise StoreError(
            f"there is no store {path}{looked_for(path)}; make it with `fewshot embed ROOT -b NAME -o {path}`"
        ) from error
    except (OSError, ValueError) as error:
        raise cannot_read(path, error) from error
    try:
        return open_hdf5(path, "r")
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise cannot_read(path, error) from error
