"""The layers that every model is built from (section B.1): gainless post-norm RMSNorm, RoPE, attention, SwiGLU."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(inputs: int, outputs: int, *, scale: float = 1.0, bias: bool = False) -> nn.Linear:
    """A linear map with LeCun-normal weights, truncated at two standard deviations, times ``scale``."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    if scale == 0.0:
        nn.init.zeros_(layer.weight)
    else:
        std = scale / math.sqrt(inputs)
        nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Embedding(nn.Module):
    """Token embedding scaled by sqrt(D); the table starts at std 1/sqrt(D), so the output starts at unit variance."""

    def __init__(self, vocabulary: int, D: int) -> None:
        super().__init__()
        self.scale = math.sqrt(D)
        self.table = nn.Embedding(vocabulary, D)
        nn.init.trunc_normal_(self.table.weight, std=1 / self.scale, a=-2 / self.scale, b=2 / self.scale)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L] int64 -> [B, L, D]."""
        return self.table(tokens) * self.scale


class Rotary(nn.Module):
    """Rotary position embedding (RoPE) over 1-D positions; neighbouring channels form the rotated pairs.

    A pair is one complex number and its rotation one product, which is faster than splitting and joining halves.
    """

    rotation: Tensor

    def __init__(self, length: int, head_dim: int, theta: float) -> None:
        super().__init__()
        frequencies = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)  # [L, head_dim / 2]
        rotation = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
        self.register_buffer("rotation", rotation, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rotate queries or keys: [..., L, head_dim] -> the same, in the same dtype."""
        pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * self.rotation).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Bidirectional multi-head self-attention with RoPE."""

    def __init__(self, D: int, *, heads: int, rotary: Rotary) -> None:
        super().__init__()
        self.heads = heads
        self.rotary = rotary
        self.qkv = linear(D, 3 * D)
        self.out = linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        B, L, D = x.shape
        qkv = self.qkv(x).view(B, L, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        q, k = self.rotary(qkv[:2])  # both at once: [2, B, heads, L, head_dim]
        y = F.scaled_dot_product_attention(q, k, qkv[2])
        return self.out(y.transpose(1, 2).reshape(B, L, D))


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)); gate and up are one matrix."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, out_scale: float = 1.0, bias: bool = False) -> None:
        super().__init__()
        self.gate_up = linear(inputs, 2 * hidden)
        self.down = linear(hidden, outputs, scale=out_scale, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """[attention + SwiGLU] with post-norm residuals, x = norm(x + f(x)), which keeps the recursive state bounded."""

    def __init__(self, D: int, *, heads: int, ffn_hidden: int, rotary: Rotary, norm_eps: float) -> None:
        super().__init__()
        self.attention = Attention(D, heads=heads, rotary=rotary)
        self.ffn = SwiGLU(D, ffn_hidden, D)
        self.norm_eps = norm_eps

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        shape = (x.shape[-1],)
        x = F.rms_norm(x + self.attention(x), shape, eps=self.norm_eps)
        return F.rms_norm(x + self.ffn(x), shape, eps=self.norm_eps)


class Stack(nn.Module):
    """Blocks one after another: f_L and f_H are one stack each."""

    def __init__(self, *blocks: Block) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        for block in self.blocks:
            x = block(x)
        return x
