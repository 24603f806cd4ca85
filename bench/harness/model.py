"""A byte-level GPT, small enough for many runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    width: int
    layers: int
    heads: int
    context: int
    batch: int


SIZES = {"cpu": Size(width=64, layers=2, heads=4, context=64, batch=16),
         "cuda": Size(width=384, layers=6, heads=6, context=256, batch=64),
         "smoke": Size(width=16, layers=1, heads=2, context=16, batch=4)}

# The linear layers that LoRA adapts.
LINEAR = ["attention", "projection", "up", "down"]


class Block(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        width = size.width
        self.heads = size.heads
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width, bias=False)
        self.projection = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, positions, width = x.shape
        heads = self.attention(self.attention_norm(x)).view(batch, positions, 3, self.heads, width // self.heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(batch, positions, width))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        self.bytes = nn.Embedding(256, size.width)
        self.positions = nn.Embedding(size.context, size.width)
        self.blocks = nn.Sequential(*(Block(size) for _ in range(size.layers)))
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, 256, bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
        for block in self.blocks:
            for layer in (block.projection, block.down):
                nn.init.normal_(layer.weight, std=0.02 / (2 * size.layers) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[sequences, positions] of bytes to logits."""
        return self.head(self.norm(self.blocks(self.bytes(x) + self.positions.weight[: x.shape[1]])))


def sequence_losses(model: nn.Module, sequences: Tensor) -> Tensor:
    """Mean loss of each sequence of [sequences, positions + 1] bytes, in nats per byte."""
    logits = model(sequences[:, :-1]).float()
    losses = F.cross_entropy(logits.flatten(0, 1), sequences[:, 1:].flatten(), reduction="none")
    return losses.view(sequences.shape[0], -1).mean(1)
