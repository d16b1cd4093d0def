"""Fleet's routing: one branch weighs segments of the other, and the result becomes a unit embedding."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class RoutingSizes:
    """Widths of Fleet's routing (ICTMCG/Fleet @ fab6b41).

    Args:
        feature, signal: of both branches.
        width: of what is cut into segments.
        heads: how many segments; divides the width.
        hidden, embedding: of the projection.
        dropout: share dropped inside the queries, of the weights and inside the projection while training.
    """

    feature: int = 1024
    signal: int = 2048
    width: int = 1024
    heads: int = 8
    hidden: int = 512
    embedding: int = 256
    dropout: float = 0.1


class MultiHeadRouting(nn.Module):
    """Weigh segments of a feature by how well their keys match the signal's one query; no residual.

    Args:
        width: of signal, keys and values; segments: into how many the keys and values are cut.
        query: width of the query and of each segment.
        feature: width of the features; that of the signal when None.
        dropout: share dropped while training; the weights that are returned are those after it.
    """

    def __init__(
        self, width: int, segments: int, query: int, *, feature: int | None = None, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if segments * query != width:
            raise ValueError(f"{segments} segments of {query} do not make a width of {width}")
        self.segments, self.query = segments, query
        self.q_proj = nn.Sequential(
            nn.Linear(width, width // 4), nn.LayerNorm(width // 4), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width // 4, query),
        )  # fmt: skip
        self.k_proj = nn.Linear(feature or width, width)
        self.v_proj = nn.Linear(feature or width, width)
        self.out_proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, signal: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, width) and the weights (N, segments) of signals (N, width) and features (N, D)."""
        keys, values = (
            project(feature).unflatten(1, (self.segments, self.query)) for project in (self.k_proj, self.v_proj)
        )
        match = torch.bmm(self.q_proj(signal)[:, None], keys.mT)[:, 0] * self.query**-0.5
        weights = cast(Tensor, self.dropout(match.softmax(dim=1)))
        return self.out_proj((weights[:, :, None] * values).flatten(1)), weights


@dataclass(frozen=True)
class Routed:
    """What the routing makes of N images: ``signal`` and ``fused`` (N, width), ``embedding`` (N, D) of unit length,
    and the ``weights`` (N, heads)."""

    signal: Tensor
    fused: Tensor
    embedding: Tensor
    weights: Tensor


class RoutedEmbedding(nn.Module):
    """What stands behind both branches: the signal's Linear layer, the routing, and the projection."""

    def __init__(self, sizes: RoutingSizes) -> None:
        super().__init__()
        self.xception_fc = nn.Linear(sizes.signal, sizes.width)
        self.routing = MultiHeadRouting(
            sizes.width, sizes.heads, sizes.width // sizes.heads, feature=sizes.feature, dropout=sizes.dropout
        )
        self.projection = nn.Sequential(
            nn.Linear(sizes.width, sizes.hidden), nn.LayerNorm(sizes.hidden), nn.ReLU(), nn.Dropout(sizes.dropout),
            nn.Linear(sizes.hidden, sizes.embedding),
        )  # fmt: skip

    def routed(self, feature: Tensor, signal: Tensor) -> Routed:
        """Return every stage, of both branches' outputs (N, D) and (N, S)."""
        narrow = self.xception_fc(signal)
        fused, weights = self.routing(narrow, feature)
        embedding = torch.nn.functional.normalize(self.projection(fused), dim=1)
        return Routed(narrow, fused, embedding, weights)

    def forward(self, feature: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unit embeddings (N, D) and the routing weights (N, heads)."""
        found = self.routed(feature, signal)
        return found.embedding, found.weights
