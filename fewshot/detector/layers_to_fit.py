"""Which layers and heads a fit takes: of which backbones, and whether they are chosen among or fused."""

from collections.abc import Mapping, Sequence

from fewshot.core.errors import OptionError
from fewshot.detector.choice import Combine
from fewshot.detector.choosable import Choosable
from fewshot.detector.fitting_inputs import require_comparable
from fewshot.detector.fused_names import Groups, known_groups
from fewshot.detector.fusing import require_fusible
from fewshot.detector.known_images import Role
from fewshot.embeddings.store.layer_info import LayerInfo
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import Head

FIXED, ALL = "fixed", "all"


def require_combinable(groups: Groups, heads: Sequence[Head], *, combine: Combine) -> None:
    """Refuse what cannot be fused, before anything is embedded.

    Args:
        groups: backbones, several where they are fused.

    Raises:
        OptionError: a head that cannot be fused, or two ways to combine at once.
    """
    together = next(("+".join(group) for group in groups if len(group) > 1), "")
    if together and combine == "mean":
        raise OptionError(
            f"-b {together} fuses backbones in one head, and --combine mean takes the mean of their scores; leave one "
            f"of the two out: for the mean, name them with commas, -b {together.replace('+', ',')}"
        )
    if together or combine == "fuse":
        require_fusible(heads)


def layers_to_fit(
    stores: Mapping[Role, FeatureStore],
    groups: Groups,
    layers: str | Sequence[str],
    heads: Sequence[Head],
    *,
    combine: Combine,
) -> list[Choosable]:
    """Return the layers and heads among which is chosen, or which are fused; every store has all, produced alike.

    Args:
        stores: the images, by their role.
        groups: backbones, several where they are fused; all of the support's when empty.
        layers: names, ``fixed`` or ``all``.

    Raises:
        OptionError: the support lacks a backbone, or there is one layer only to fuse.
        UnknownNameError: it lacks a layer. StoreError: the stores were produced differently.
    """
    support = stores["support"]
    own = known_groups(support, groups) if groups else [(name,) for name in support.backbones]
    names = [name for group in own for name in group]
    if missing := [name for name in dict.fromkeys(names) if name not in support.backbones]:
        raise OptionError(
            f"{support.path} has the backbones {', '.join(support.backbones)} and not {', '.join(missing)}; name one "
            f"that it has with --backbone, or embed with yours first"
        )
    found = []
    for group in own:
        fused_in = "+".join(group) if len(group) > 1 else ""
        for name in group:
            for layer in _layers(support, name, (layers,) if isinstance(layers, str) else layers):
                for head in heads:
                    info = support.info(name, layer, view=head.views[0])
                    found.append(Choosable(info, head, licence=_licence(info), fused_in=fused_in))
    needed = [
        support.info(each.info.backbone, each.info.layer, view=view) for each in found for view in each.head.views
    ]
    for store in stores.values():
        require_comparable(store, needed)
    _require_several(found, combine)
    return found


def _require_several(choosable: Sequence[Choosable], combine: Combine) -> None:
    if combine == "fuse" and len(choosable) < 2:
        raise OptionError(
            f"--combine fuse: there is {choosable[0].name} only, and fusing takes two or more; name several backbones, "
            f"-b a+b, or several layers by --layer, or leave it out"
        )


def _layers(store: FeatureStore, backbone: str, wanted: Sequence[str]) -> list[str]:
    found: list[str] = []
    for layer in wanted:
        if layer == FIXED:
            found.append(store.default_layer(backbone))
        elif layer == ALL:
            found += store.layer_names(backbone)
        else:
            found.append(layer)
    return list(dict.fromkeys(found))


def _licence(info: LayerInfo) -> str:
    card = info.provenance.get("card")
    return str(card.get("licence") or "") if isinstance(card, Mapping) else ""
