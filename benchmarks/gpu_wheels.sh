#!/usr/bin/env bash
# Collect, into the folder given, the wheels of what a machine with PyTorch lacks for `make gpu`: Python 3.12 on Linux x86-64.
# There must be torch 2.7 or newer, torchvision, transformers, h5py, click, tqdm, Pillow, pandas and scikit-learn already.
# FAISS for GPUs joins them only with FAISS=1: its wheel alone is 130 MB.
set -euo pipefail
folder="${1:?give the folder to fill, for example: benchmarks/gpu_wheels.sh wheels}"
limit_mib="${LIMIT_MIB:-55}"
python="${PYTHON:-python3}"
root="$(cd "$(dirname "$0")/.." && pwd)"
names="ftfy greenlet msgspec open_clip_torch simplejpeg timm wcwidth"
[ "${FAISS:-0}" = 1 ] && names="$names faiss-gpu"

mkdir -p "$folder"
if compgen -G "$folder/*" >/dev/null; then
    echo "$folder is not empty; give a new folder" >&2
    exit 1
fi
wanted=()
for name in $names; do
    pinned="$(grep -m 1 -E "^${name//_/[-_]}==" "$root/constraints.txt")" || {
        echo "constraints.txt does not pin $name" >&2
        exit 1
    }
    wanted+=("$pinned")
done
platforms=()
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014; do
    platforms+=(--platform "${tag}_x86_64")
done
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --implementation cp --python-version 3.12 "${platforms[@]}" --dest "$folder" "${wanted[@]}"
size_mib="$(du --summarize --apparent-size --block-size=1M "$folder" | cut -f1)"
echo "$folder: ${#wanted[@]} wheels, $size_mib MiB"
if [ "$size_mib" -gt "$limit_mib" ] && [ "${FAISS:-0}" != 1 ]; then
    echo "more than $limit_mib MiB: what is carried to such a machine must stay below" >&2
    exit 1
fi
