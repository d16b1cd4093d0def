"""Tables of images: CSV, JSONL and Parquet beside the images, and a data set in Arrow and in Parquet."""

import csv
import io
import json
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pyarrow
import pyarrow.parquet
from PIL import Image

from fewshot.embeddings.inputs.images import UnreadableImage
from fewshot.embeddings.layouts.collection import collect

ROWS = [
    {"path": f"images/{number}.png", "source": ("camera", "sd15")[number % 2], "synthetic": number % 2, "split": "test"}
    for number in range(40)
]


def originals(folder: Path) -> list[Path]:
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ROWS[0], delimiter=";")
        writer.writeheader()
        writer.writerows(ROWS)
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "manifest.parquet", row_group_size=20)
    pyarrow.parquet.write_table(_data_set(), folder / "train.parquet", row_group_size=10, compression="none")
    with pyarrow.ipc.new_stream(folder / "data-00000-of-00001.arrow", _data_set().schema) as writer:
        writer.write_table(_data_set(), max_chunksize=10)
    names = ("manifest.csv", "manifest.jsonl", "manifest.parquet", "train.parquet", "data-00000-of-00001.arrow")
    return [folder / name for name in names]


def _data_set() -> pyarrow.Table:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "PNG")
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["real", "fake"]}}
    return pyarrow.table(
        {
            "image": [{"bytes": stream.getvalue(), "path": None} for _ in ROWS],
            "label": [row["synthetic"] for row in ROWS],
            "source": [row["source"] for row in ROWS],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def enter(path: Path) -> None:
    manifest = path.stem == "manifest"
    name = "table" if manifest else "hf"
    found = collect([path if manifest else path.parent], layout=name, one_class=True)
    found.describe()
    for sample in islice(found.samples, 3):
        with suppress(OSError, UnreadableImage):  # listed as this image's failure
            found.layouts[0].read(found.roots[0], sample)
