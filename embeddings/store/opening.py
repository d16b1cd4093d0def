"""Whether a file is a store that can be read, and if not, what to do about it."""

from pathlib import Path

import h5py

from fewshot.core.errors import StoreError
from fewshot.embeddings.store.schema import FORMAT, VERSION


def require_sealed(path: Path) -> None:
    """Raise unless ``path`` is a sealed store of a version that is known here.

    Raises:
        StoreError: no such file, not a store, not sealed, or of a newer version.
    """
    if not path.is_file():
        if path.with_name(path.name + ".parts").is_dir():
            raise StoreError(f"{path} is not finished; run the same `fewshot embed ... -o {path}` again")
        raise StoreError(f"there is no store {path}; make it with `fewshot embed ROOT -b NAME -o {path}`")
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
    except OSError as error:
        raise StoreError(f"{path} cannot be read as HDF5 ({error}); make it again with `fewshot embed`") from error
    if attributes.get("format") != FORMAT:
        raise StoreError(f"{path} is an HDF5 file but not a fewshot store; name one made by `fewshot embed`")
    if not attributes.get("sealed", False):
        raise StoreError(f"{path} is not sealed; run the same `fewshot embed ... -o {path}` again")
    if not 1 <= int(attributes["version"]) <= VERSION:
        raise StoreError(
            f"{path} has store version {attributes['version']}, and this fewshot reads 1 to {VERSION}; install the "
            f"fewshot that made it, or embed again"
        )
