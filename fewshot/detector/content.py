"""What lies in a detector file, and how it is checked: description, heads, arrays, images, thumbnails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.errors import FewshotError, WeightsError
from fewshot.core.names import is_one_line
from fewshot.detector.consistency import require_consistent
from fewshot.detector.description import VERSION, Description, Member
from fewshot.detector.known_images import ROLES, FeatureKey, KnownImages
from fewshot.detector.scores import member_scores
from fewshot.detector.venn_abers import VennAbers
from fewshot.embeddings.search.openset import KnownScores
from fewshot.embeddings.store.layer_info import Provenance
from fewshot.heads import state
from fewshot.heads.base import Head

_DESCRIPTION, _IMAGES, _ARRAYS, _THUMBNAILS = "detector.json", "images.json", "arrays.safetensors", "thumbnails"
_MOST_IMAGES = 5_000_000
_MOST_THUMBNAIL_BYTES = 1 << 16
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_SCORES = ("support_scores", "calibration_scores", "held_out_scores", "known_scores")
_PROBABILITY = ("probability_scores", "probability_low", "probability_high")


@dataclass(frozen=True, eq=False)
class Content:
    """What a detector file holds.

    Args:
        description: everything but arrays.
        heads: fitted, one for each member.
        images: support, calibration, held-out and further known images, with their features.
        support_scores: (n,) cross-validated scores of the support, in the order of the images.
        calibration_scores: (c,) scores of the calibration naturals; held_out_scores: (h,) of held-out synthetic images.
        probability: from a score to an interval.
        known: how near the images lie to each other.
        thumbnails: image number -> JPEG, of some images.
        dropped: backbone, layer, view -> (n, D) features of the support, of layers that got no weight in a fusion.
    """

    description: Description
    heads: tuple[Head, ...]
    images: KnownImages
    support_scores: Float64Array
    calibration_scores: Float64Array
    held_out_scores: Float64Array
    probability: VennAbers
    known: KnownScores
    thumbnails: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    dropped: Mapping[FeatureKey, FloatArray] = field(default_factory=dict, repr=False)


class _Images(msgspec.Struct):
    """The columns of the known images, equally long."""

    key: list[str]
    id: list[str]
    source: list[str]
    role: list[str]
    synthetic: list[bool]


def encode(content: Content) -> dict[str, bytes]:
    """Return the members of the archive by name."""
    from safetensors.numpy import save

    columns = content.images
    arrays: dict[str, NDArray[Any]] = {
        "support_scores": content.support_scores,
        "calibration_scores": content.calibration_scores,
        "held_out_scores": content.held_out_scores,
        "known_scores": content.known.scores,
        "probability_scores": content.probability.scores,
        "probability_low": content.probability.low,
        "probability_high": content.probability.high,
    }
    for number, key in enumerate(_feature_keys(content.description)):
        arrays[f"features_{number}"] = columns.features[key]
    for number, key in enumerate(_dropped_keys(content.description)):
        arrays[f"dropped_{number}"] = content.dropped[key]
    listed = _Images(
        key=[str(key) for key in columns.keys],
        id=[str(image) for image in columns.ids],
        source=[str(source) for source in columns.sources],
        role=[str(role) for role in columns.roles],
        synthetic=[bool(label) for label in columns.synthetic],
    )
    return {
        _DESCRIPTION: msgspec.json.format(msgspec.json.encode(content.description), indent=1),
        _IMAGES: msgspec.json.encode(listed),
        _ARRAYS: save({name: np.ascontiguousarray(array) for name, array in arrays.items()}),
        **{_head_name(number): state.to_bytes(head.state()) for number, head in enumerate(content.heads)},
        **{_picture_name(number): picture for number, picture in content.thumbnails.items()},
    }


def decode(members: Mapping[str, bytes], *, where: str) -> Content:
    """Return what ``encode`` was given, everything held to what a detector is.

    Raises:
        WeightsError: something is missing, unknown, of another type or size, not finite, or does not follow from the
            rest: a threshold from its scores, a count from its images.
    """
    try:
        return _decoded(members, where)
    except FewshotError:
        raise
    except (
        msgspec.DecodeError,
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        AttributeError,
        RecursionError,
    ) as error:
        raise WeightsError(f"{where} is not a detector that fewshot wrote ({error}); fit it again") from error


def _decoded(members: Mapping[str, bytes], where: str) -> Content:
    description = msgspec.json.decode(members[_DESCRIPTION], type=Description)
    images = msgspec.json.decode(members[_IMAGES], type=_Images)
    _require_described(description, images)
    pictures = {name: content for name, content in members.items() if name.startswith(f"{_THUMBNAILS}/")}
    wanted = {_DESCRIPTION, _IMAGES, _ARRAYS, *map(_head_name, range(len(description.members)))}
    if set(members) - set(pictures) != wanted:
        raise ValueError(f"it holds {sorted(set(members) ^ wanted)[:3]} beside or instead of what a detector is")
    roles = np.array(images.role, dtype=object)
    arrays = _arrays(members[_ARRAYS], description, images=len(roles), support=int((roles == "support").sum()))
    synthetic = np.array(images.synthetic, dtype=bool)
    for name, count in (
        ("support_scores", (roles == "support").sum()),
        ("calibration_scores", ((roles == "calibration") & ~synthetic).sum()),
        ("held_out_scores", ((roles == "held-out") & synthetic).sum()),
    ):
        if arrays[name].shape != (count,):
            raise ValueError(f"{name} has the shape {arrays[name].shape}, and there are {count} such images")
    known = KnownImages(
        keys=np.array(images.key, dtype=object),
        ids=np.array(images.id, dtype=object),
        sources=np.array(images.source, dtype=object),
        roles=roles,
        synthetic=synthetic,
        features={key: arrays[f"features_{number}"] for number, key in enumerate(_feature_keys(description))},
    )
    require_consistent(
        description,
        known,
        **{name: arrays[name] for name in ("support_scores", "calibration_scores", "held_out_scores")},
    )
    return Content(
        description=description,
        heads=tuple(_head(members, number, description, known, where) for number in range(len(description.members))),
        images=known,
        support_scores=arrays["support_scores"],
        calibration_scores=arrays["calibration_scores"],
        held_out_scores=arrays["held_out_scores"],
        probability=_probability(*(arrays[name] for name in _PROBABILITY)),
        known=KnownScores(arrays["known_scores"]),
        thumbnails=_pictures(pictures, len(images.key)),
        dropped={key: arrays[f"dropped_{number}"] for number, key in enumerate(_dropped_keys(description))},
    )


def _require_described(description: Description, images: _Images) -> None:
    if description.version > VERSION:
        raise ValueError(f"it describes itself as of version {description.version}")
    lengths = {len(column) for column in (images.key, images.id, images.source, images.role, images.synthetic)}
    if len(lengths) > 1 or not 0 < len(images.key) <= _MOST_IMAGES:
        raise ValueError("the columns of its images differ in length, or there are none")
    if not set(images.role) <= set(ROLES):
        raise ValueError(f"an image has a role that is none of {', '.join(ROLES)}")
    texts = (description.name, description.created, *description.notes, *images.key, *images.source, *images.id)
    if not all(map(is_one_line, texts)):
        raise ValueError("a text has control characters")
    for member in description.members:
        msgspec.convert(member.provenance, Provenance)


def _feature_keys(description: Description) -> list[FeatureKey]:
    return [(member.backbone, member.layer, view) for member in description.members for view in member.views]


def _dropped_keys(description: Description) -> list[FeatureKey]:
    fusion = description.fusion
    return [] if fusion is None else [(each.backbone, each.layer, each.view) for each in fusion.dropped]


def _arrays(encoded: bytes, description: Description, *, images: int, support: int) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = load(encoded)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    features = _feature_shapes(description, images=images, support=support)
    if set(found) != {*_SCORES, *_PROBABILITY, *features}:
        raise ValueError("its arrays are not those of a detector")
    for name, (shape, dtype) in features.items():
        if found[name].shape != shape or found[name].dtype.name != dtype:
            raise ValueError(f"{name} is {found[name].dtype} of shape {found[name].shape}, not {dtype} of {shape}")
    for name in (*_SCORES, *_PROBABILITY):
        if found[name].ndim != 1 or found[name].dtype != np.float64:
            raise ValueError(f"{name} is not a list of float64")
    if not all(np.isfinite(array).all() for array in found.values()):
        raise ValueError("an array has values that are not finite")
    if not len(found["known_scores"]) or (np.diff(found["known_scores"]) < 0).any():
        raise ValueError("known_scores is empty or not ascending")
    return found


def _feature_shapes(
    description: Description, *, images: int, support: int
) -> dict[str, tuple[tuple[int, int], Literal["float32", "float16"]]]:
    """Return shape and type of every array of features: of all images, and of the support for what was dropped."""
    members = [member for member in description.members for _ in member.views]
    dropped = () if description.fusion is None else description.fusion.dropped
    return {
        **{f"features_{at}": ((images, each.dimension), each.dtype) for at, each in enumerate(members)},
        **{f"dropped_{at}": ((support, each.dimension), each.dtype) for at, each in enumerate(dropped)},
    }


def _probability(scores: Float64Array, low: Float64Array, high: Float64Array) -> VennAbers:
    inside = ((low >= 0) & (low <= high) & (high <= 1)).all() if low.shape == high.shape else False
    if not len(scores) or low.shape != (2 * len(scores) + 1,) or not inside or (np.diff(scores) <= 0).any():
        raise ValueError("its probabilities are no intervals of ascending scores")
    return VennAbers(scores, low, high)


def _head_name(number: int) -> str:
    return f"head_{number}.safetensors"


def _head(members: Mapping[str, bytes], number: int, description: Description, images: KnownImages, where: str) -> Head:
    found = state.from_bytes(members[_head_name(number)], what=f"the head in {where}")
    head = Head.from_state(found)
    member = description.members[number]
    if head.name != member.head or tuple(head.views) != member.views:
        raise ValueError(f"its head is {head.name!r}, and {member.head!r} is described")
    _require_scoring(member, head, images)
    return head


def _require_scoring(member: Member, head: Head, images: KnownImages) -> None:
    """Refuse a head that cannot score the features it stands beside, for example of another dimension."""
    first = images.take(np.array([0])).features
    with np.errstate(all="ignore"):  # what overflows is not finite, and refused
        score = member_scores(member, head, first)
    if score.shape != (1,) or not np.isfinite(score).all():
        raise ValueError(f"its head {member.head!r} gives no score of its own images")


def _pictures(members: Mapping[str, bytes], images: int) -> dict[int, bytes]:
    found = {}
    for name, picture in members.items():
        number = name.removeprefix(f"{_THUMBNAILS}/").removesuffix(".jpg")
        if not (number.isascii() and number.isdecimal() and len(number) < 20) or name != _picture_name(int(number)):
            raise ValueError(f"it holds {name!r}, which is no thumbnail")
        small = len(picture) <= _MOST_THUMBNAIL_BYTES and picture.startswith(_JPEG) and picture.endswith(_JPEG_END)
        if int(number) >= images or not small:
            raise ValueError(f"the thumbnail {name!r} is no small JPEG of one of its images")
        found[int(number)] = picture
    return found


def _picture_name(number: int) -> str:
    return f"{_THUMBNAILS}/{number:07d}.jpg"
