"""A forged, cut or foreign store is refused by a sentence, before anything outside it or of its size is touched."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.core.errors import StoreError
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.store.description import describe
from fewshot.embeddings.store.export import export
from fewshot.embeddings.store.read_errors import cannot_read
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.verify import verify
from tests.hostile.small_store import ROWS, as_first_version, everything, write_small_store
from tests.hostile.unsuitable import make_unsuitable

SECRET = b"root:x:0:0:secret line of another file\n" * 40
Forge = Callable[..., None]
Change = Callable[[h5py.File], Any]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("sound") / "today.h5")


@pytest.fixture(scope="module")
def first(sound: Path) -> Path:
    """The same store as version 1 had it, so that nothing but the schema can find what is forged."""
    return as_first_version(Path(shutil.copy(sound, sound.with_name("first.h5"))))


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "a.h5"))


def objects(path: Path, *, groups: bool = False) -> list[str]:
    found: list[str] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(name) if groups == isinstance(item, h5py.Group) else None)
    return found


def forged(original: Path, case: Path, change: Change) -> Path:
    shutil.copy(original, case)
    with h5py.File(case, "r+") as file:
        change(file)
    return case


def require_refused(path: Path, name: str = "") -> str:
    """Return the sentence by which the store is refused, whatever is wanted of it."""
    with pytest.raises(StoreError) as raised:
        everything(path)
    with pytest.raises(StoreError):
        verify(path)
    assert str(path) in str(raised.value), name
    assert "secret" not in str(raised.value)
    return str(raised.value)


# -- datasets and groups ---------------------------------------------------------------------------------------------


def remove(file: h5py.File, name: str, outside: Path) -> None:
    del file[name]


def external_storage(file: h5py.File, name: str, outside: Path) -> None:
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[(str(outside), 0, h5py.h5f.UNLIMITED)])


def external_link(file: h5py.File, name: str, outside: Path) -> None:
    del file[name]
    file[name] = h5py.ExternalLink(str(outside), "/x")


def soft_link(file: h5py.File, name: str, outside: Path) -> None:
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


def second_hard_link(file: h5py.File, name: str, outside: Path) -> None:
    other = "failed/key" if name != "failed/key" else "failed/view"
    del file[name]
    file[name] = file[other]


def cycle(file: h5py.File, name: str, outside: Path) -> None:
    del file[name]
    file[name] = file["/"]


def virtual(file: h5py.File, name: str, outside: Path) -> None:
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource(str(outside), "x", shape)
    file.create_virtual_dataset(name, layout)


def committed_type(file: h5py.File, name: str, outside: Path) -> None:
    del file[name]
    file[name] = np.dtype("f8")


def references(file: h5py.File, name: str, outside: Path) -> None:
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, h5py.ref_dtype, fletcher32=True, chunks=True)


def texts_of_any_length(file: h5py.File, name: str, outside: Path) -> None:
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, h5py.string_dtype(), chunks=True)


def another_type(file: h5py.File, name: str, outside: Path) -> None:
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, data=np.zeros(shape, np.complex64), fletcher32=True, chunks=True)


def another_length(file: h5py.File, name: str, outside: Path) -> None:
    values = file[name][:]
    replace(file, name, np.concatenate([values, values]))


def more_dimensions(file: h5py.File, name: str, outside: Path) -> None:
    replace(file, name, file[name][:][..., None])


def a_group(file: h5py.File, name: str, outside: Path) -> None:
    del file[name]
    file.create_group(name)


def without_checksums(file: h5py.File, name: str, outside: Path) -> None:
    values = file[name][:]
    del file[name]
    file[name] = values


def huge(file: h5py.File, name: str, outside: Path) -> None:
    shape, dtype, attributes = file[name].shape, file[name].dtype, dict(file[name].attrs)
    del file[name]
    made = file.create_dataset(name, (2**40, *shape[1:]), dtype, fletcher32=True, chunks=(1024, *shape[1:]))
    made.attrs.update(attributes)


def unknown_filter(file: h5py.File, name: str, outside: Path) -> None:
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk(shape)
    created.set_filter(32_000, h5py.h5z.FLAG_OPTIONAL, (1, 2, 3))
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, dcpl=created)


def replace(file: h5py.File, name: str, values: np.ndarray) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, data=values, fletcher32=True, chunks=True).attrs.update(attributes)


FORGERIES: dict[str, Forge] = {
    each.__name__: each
    for each in (
        remove,
        external_storage,
        external_link,
        soft_link,
        second_hard_link,
        cycle,
        virtual,
        committed_type,
        references,
        texts_of_any_length,
        another_type,
        another_length,
        more_dimensions,
        a_group,
        huge,
    )
}


@pytest.mark.parametrize("forgery", [*FORGERIES, "unknown_filter"])
def test_a_forged_dataset_is_refused_whichever_it_is(first: Path, tmp_path: Path, forgery: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(SECRET)
    forge = FORGERIES.get(forgery, unknown_filter)
    for name in objects(first):
        if (forgery, name) == ("remove", "samples/extra/track"):
            continue  # a store without this column is one
        if forgery == "another_length" and name.startswith("failed/"):
            continue  # below, all four at once are a store with other failures
        case = forged(first, tmp_path / "a.h5", partial(forge, name=name, outside=outside))
        require_refused(case, name)


def test_a_column_without_checksums_is_refused(first: Path, tmp_path: Path) -> None:
    for name in objects(first):
        if not name.startswith("features/"):
            case = forged(first, tmp_path / "a.h5", partial(without_checksums, name=name, outside=tmp_path))
            require_refused(case, name)


def test_a_group_that_is_gone_or_something_else_is_refused(first: Path, tmp_path: Path) -> None:
    for name in objects(first, groups=True):
        if name == "samples/extra":
            continue
        for forge in (remove, soft_link, external_link):
            change = partial(forge, name=name, outside=Path("/etc/passwd"))
            require_refused(forged(first, tmp_path / "a.h5", change))


@pytest.mark.parametrize(
    "name", ["more", "samples/more", "samples/extra/a@b", "failed/more", "present/more", "features/a@b"]
)
def test_an_object_that_no_store_has_is_refused(first: Path, tmp_path: Path, name: str) -> None:
    assert "no fewshot writes such a store" in require_refused(
        forged(first, tmp_path / "a.h5", lambda file: file.create_dataset(name, data=np.zeros(ROWS, bool)))
    )


def test_storage_in_a_pipe_is_never_waited_for(first: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    case = forged(first, tmp_path / "a.h5", lambda file: external_storage(file, "samples/source", tmp_path / "pipe"))

    assert "/samples/source keeps its values in another file" in require_refused(case)


# -- attributes --------------------------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "a number": 7,
    "a fraction": 0.5,
    "several": [1, 2],
    "bytes": np.bytes_(b"x"),
    "nothing": h5py.Empty("f4"),
    "empty text": "",
    "no JSON": "{",
    "deep JSON": "[" * 100_000,
    "a list": '["a", 1]',
    "a wrong field": '{"weights": [1], "batch_size": "x"}',
    "not a number": "NaN",
}


def attributes(path: Path) -> Iterator[tuple[str, str]]:
    with h5py.File(path) as file:
        for where in ("/", "/features/npr/pooled"):
            yield from ((where, name) for name in file[where].attrs)


@pytest.mark.parametrize("value", VALUES)
def test_an_attribute_of_another_kind_is_refused(first: Path, tmp_path: Path, value: str) -> None:
    for where, name in attributes(first):
        if (value, name) == ("a wrong field", "provenance"):
            continue  # how a store was made has no declared fields

        def change(file: h5py.File, where: str = where, name: str = name) -> None:
            del file[where].attrs[name]
            file[where].attrs[name] = VALUES[value]

        require_refused(forged(first, tmp_path / "a.h5", change), f"{where} {name}")


def test_an_attribute_that_is_gone_or_too_many_is_refused(first: Path, tmp_path: Path) -> None:
    for where, name in attributes(first):
        require_refused(forged(first, tmp_path / "a.h5", lambda file, w=where, n=name: file[w].attrs.__delitem__(n)))  # type: ignore[misc]
    for where in ("/", "/samples", "/samples/key", "/features/npr/pooled"):
        require_refused(forged(first, tmp_path / "a.h5", lambda file, w=where: file[w].attrs.update(more=1)))  # type: ignore[misc]


def test_what_an_attribute_says_is_covered_by_the_manifest(sound: Path, tmp_path: Path) -> None:
    def with_facts(file: h5py.File) -> None:
        facts = json.loads(file["features/npr/pooled"].attrs["facts"])
        file["features/npr/pooled"].attrs["facts"] = json.dumps({**facts, "weights": {"net": "b" * 64}})

    layer = "features/npr/pooled"
    changes: tuple[Change, ...] = (
        lambda file: file[layer].attrs.update(normalised=True),
        lambda file: (file[layer].attrs.update(default=False), file["features/npr/block"].attrs.update(default=True)),
        with_facts,
        lambda file: file.attrs.update(roots='["/other"]'),
        lambda file: file.attrs.update(provenance="{}"),
        lambda file: file.move("features/npr/block", "features/npr/other"),
        lambda file: file.move("samples/extra/track", "samples/extra/other"),
        lambda file: file.attrs.update(version=1),
        lambda file: file.attrs.__delitem__("manifest"),
    )
    for change in changes:
        require_refused(forged(sound, tmp_path / "a.h5", change))


@pytest.mark.parametrize(
    "name", ["failed/reason", "present/npr", "samples/root", "samples/synthetic", "samples/source"]
)
def test_other_values_in_a_small_dataset_are_covered_by_the_manifest(copy: Path, name: str) -> None:
    with h5py.File(copy, "r+") as file:
        values = file[name][:]
        file[name][:] = (
            ~values if values.dtype == bool else np.full_like(values, b"x" if values.dtype.kind == "S" else 3)
        )

    assert any(f"/{name}" in problem for problem in verify(copy).problems)
    with pytest.raises(StoreError, match="are not those that were sealed"):
        everything(copy)


def test_verify_says_of_a_store_without_manifest_what_is_not_covered(first: Path) -> None:
    done = CliRunner().invoke(group, ["verify", str(first)])

    assert done.exit_code == 0
    assert "sound, 12 images" in done.stdout
    assert "its attributes (default layers, weights, roots, failures) are covered by no digest" in done.stderr


# -- whole files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["inspect", "verify", "adapt", "nearest", "export", "audit"])
@pytest.mark.parametrize("forgery", ["remove", "external_storage", "external_link", "huge", "another_type"])
def test_no_command_meets_a_forged_store_with_a_traceback(
    first: Path, tmp_path: Path, command: str, forgery: str
) -> None:
    (tmp_path / "outside").write_bytes(SECRET)
    case = forged(
        first, tmp_path / "a.h5", lambda file: FORGERIES[forgery](file, "samples/source", tmp_path / "outside")
    )
    more = {"export": ["-o", str(tmp_path / "out")], "nearest": [str(case)]}.get(command, [])

    done = CliRunner().invoke(group, [command, str(case), *more])

    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit)
    assert "/samples/source" in done.stderr or "/samples has no 'source'" in done.stderr
    assert "secret" not in done.output


def test_a_store_that_is_cut_anywhere_is_refused(sound: Path, tmp_path: Path) -> None:
    content, case = sound.read_bytes(), tmp_path / "a.h5"
    for length in [0, 1, 7, 8, 40, 96, 2048, *range(5000, len(content), 6007), len(content) - 1]:
        case.write_bytes(content[:length])
        assert "cut short" in require_refused(case) or length < 96


def test_a_cut_store_says_how_much_of_it_is_there(copy: Path) -> None:
    size = copy.stat().st_size
    with copy.open("r+b") as stream:
        stream.truncate(size - 200)

    assert f"cannot be read as HDF5: it is cut short, {size - 200:,} of {size:,} bytes are there" in require_refused(
        copy
    )


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "text", "hdf5"])
def test_what_is_no_store_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.h5"
    if kind == "text":
        path.write_text("no store" * 1000)
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file.attrs["format"] = [1, 2, 3]
    else:
        make_unsuitable(path, kind)
    expected = {
        "pipe": "it is a named pipe, not a regular file",
        "device": "it is a device, not a regular file",
        "folder": "it is a folder, not a regular file",
        "text": "it is another kind of file",
        "hdf5": "not a fewshot store",
    }

    with pytest.raises(StoreError, match=expected[kind]):
        FeatureStore(path)


HOLDER = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); sys.stdin.read()"


def test_a_sound_store_that_another_program_holds_open_is_not_called_damaged(copy: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(copy)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"

        with pytest.raises(StoreError, match=r"another program holds it open for writing.*run the same again"):
            everything(copy)

        holder.communicate("")
    everything(copy)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EAGAIN, "another program holds it open for writing"),
        (errno.ENOLCK, "its file system knows no locks"),
        (errno.ENOSYS, "its file system knows no locks"),
        (errno.EOPNOTSUPP, "its file system knows no locks"),
        (errno.EACCES, "you may not read it"),
        (errno.EIO, "the disk or network reports a fault"),
        (errno.ESTALE, "it was replaced or removed on its network file system"),
        (errno.EMFILE, "too many files are open"),
    ],
)
def test_each_error_of_the_system_has_a_sentence_and_remedy_of_its_own(number: int, sentence: str) -> None:
    for error in (OSError(number, os.strerror(number)), OSError(f"Unable to open file (errno = {number}, x)")):
        said = str(cannot_read(Path("a.h5"), error))

        assert sentence in said
        assert "make it again" not in said


def test_every_reader_of_a_sound_store_sees_it(copy: Path, tmp_path: Path) -> None:
    with FeatureStore(copy) as store:
        assert describe(store)["images"] == ROWS
        assert len(export(store, tmp_path / "out").files) == 3 + 3
        assert len(SourceIndex(store, backbone="npr")) == ROWS
    assert verify(copy).sound
    assert verify(copy).notes == ()
