"""The layers that every model is built from (section B.1): gainless post-norm RMSNorm, RoPE,
attention, SwiGLU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def multiplied(a: Tensor, b: Tensor) -> Tensor:
    """The product of bf16 matrices, with sums in fp32: [..., n], [n, m] -> fp32 [..., m]."""
    if a.is_cuda:
        product = torch.mm(a.flatten(0, -2), b, out_dtype=torch.float32)
        return product.view(*a.shape[:-1], -1)
    return a.float() @ b.float()  # products of two bf16 numbers are exact in fp32


class RoundedProduct(torch.autograd.Function):
    """x @ weight.T of fp32 numbers that are rounded to bf16, with sums in fp32; so are the products
    of its gradients.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """[..., inputs], [outputs, inputs] -> fp32 [..., outputs]."""
        x, weight = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(x, weight)
        return multiplied(x, weight.T)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of both factors, where they are asked for."""
        x, weight = ctx.saved_tensors
        gradient = gradients[0].bfloat16()
        of_x, of_weight = ctx.needs_input_grad
        return (
            multiplied(gradient, weight) if of_x else None,
            multiplied(gradient.flatten(0, -2).T, x.flatten(0, -2)) if of_weight else None,
        )


class RoundedLinear(nn.Linear):
    """A linear map of fp32 numbers by :class:`RoundedProduct`."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> fp32 [..., outputs]."""
        product: Tensor = RoundedProduct.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias


def linear(
    inputs: int, outputs: int, *, scale: float = 1.0, bias: bool = False, rounded: bool = False
) -> nn.Linear:
    """A linear map with LeCun-normal weights, truncated at two standard deviations, times
    ``scale``; ``rounded`` makes it a :class:`RoundedLinear`.
    """
    layer = (RoundedLinear if rounded else nn.Linear)(inputs, outputs, bias=bias)
    if scale == 0.0:
        nn.init.zeros_(layer.weight)
    else:
        std = scale / math.sqrt(inputs)
        nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


# Standard deviation of a standard normal variable that is cut at two.
TRUNCATED_STD = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


@torch.no_grad()
def widen(module: nn.Module) -> None:
    """Give the initial weights of linear maps and embeddings the standard deviation that they had
    before they were truncated.

    JAX's initialiser does so, and with it HRM and TRM; the distribution then ends at 2 /
    TRUNCATED_STD standard deviations.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.weight /= TRUNCATED_STD


class Embedding(nn.Module):
    """Token embedding scaled by sqrt(D); the table starts at std 1/sqrt(D), so the output starts at
    unit variance.
    """

    def __init__(self, vocabulary: int, D: int) -> None:
        super().__init__()
        self.scale = math.sqrt(D)
        self.table = nn.Embedding(vocabulary, D)
        nn.init.trunc_normal_(
            self.table.weight, std=1 / self.scale, a=-2 / self.scale, b=2 / self.scale
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L] int64 -> [B, L, D]."""
        return self.table(tokens) * self.scale


class Rotary(nn.Module):
    """Rotary position embedding (RoPE); neighbouring channels form the rotated pairs.

    With several axes (axial RoPE) every axis rotates an equal share of the pairs, each share with
    all frequencies from 1 down to about 1 / theta.

    A pair is one complex number and its rotation one product, which is faster than splitting and
    joining halves. Not where it is compiled: the compiler leaves complex numbers to kernels of
    their own, and joins real products with what stands around them. The two agree to the last bits
    of fp32. With ``halves`` channel i and channel i + head_dim / 2 form a pair instead, as in HRM
    and TRM: the same but for the order of the channels of queries and keys.

    Args:
        positions: int64 [L, axes]; ``head_dim`` is a multiple of 2 x axes.
        head_dim: channels of a head.
        theta: base of the frequencies.
        halves: see above.
    """

    rotation: Tensor  # [L, head_dim / 2] complex64
    parts: Tensor  # the same as [L, head_dim / 2, 2] fp32: cosine and sine

    def __init__(
        self, positions: Tensor, head_dim: int, theta: float, *, halves: bool = False
    ) -> None:
        super().__init__()
        self.halves = halves
        channels = head_dim // positions.shape[1]  # of one axis
        frequencies = theta ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
        angles = (positions.double()[:, :, None] * frequencies).flatten(1)  # [L, head_dim / 2]
        rotation = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
        self.register_buffer("rotation", rotation, persistent=False)
        self.register_buffer("parts", torch.view_as_real(rotation).clone(), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Rotate queries or keys at the positions from ``start`` on: [..., L, head_dim] -> the
        same, in the same dtype.
        """
        positions = slice(start, start + x.shape[-2])
        if not self.halves and not torch.compiler.is_compiling():
            pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
            return torch.view_as_real(pairs * self.rotation[positions]).flatten(-2).to(x.dtype)
        cos, sin = self.parts[positions].unbind(dim=-1)
        if self.halves:
            a, b = x.float().chunk(2, dim=-1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)
        a, b = x.float().view(*x.shape[:-1], -1, 2).unbind(dim=-1)
        turned = torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1)
        return turned.flatten(-2).to(x.dtype)


class Cache:
    """The keys and values of one causal attention for the tokens so far, which those of later
    tokens join.
    """

    def __init__(self) -> None:
        self.kv: Tensor | None = None  # [2, B, heads, tokens, head_dim]

    @property
    def tokens(self) -> int:
        """Tokens so far."""
        return 0 if self.kv is None else self.kv.shape[-2]

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens, these last: [B, heads, L, head_dim] twice -> [B, heads,
        tokens, head_dim] twice.
        """
        new = torch.stack((k, v))
        self.kv = new if self.kv is None else torch.cat((self.kv, new), dim=-2)
        return self.kv[0], self.kv[1]


class Attention(nn.Module):
    """Multi-head self-attention with RoPE: bidirectional, or ``causal``, where no token sees a
    later one.
    """

    def __init__(self, D: int, *, heads: int, rotary: Rotary, causal: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.rotary = rotary
        self.qkv = linear(D, 3 * D)
        self.out = linear(D, D)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """[B, L, D] -> [B, L, D]; with a cache, which this extends, ``x`` goes on after its tokens,
        one token at a time.
        """
        B, L, D = x.shape
        start = 0 if cache is None else cache.tokens
        assert start == 0 or (self.causal and L == 1), (
            "a cache serves causal attention, and one token after its first ones"
        )
        qkv = self.qkv(x).view(B, L, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        q, k = self.rotary(qkv[:2], start)  # both at once: [2, B, heads, L, head_dim]
        v = qkv[2]
        if cache is not None:
            k, v = cache.extend(k, v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal and start == 0)
        return self.out(y.transpose(1, 2).reshape(B, L, D))


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)); gate and up are one matrix."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        out_scale: float = 1.0,
        bias: bool = False,
        rounded: bool = False,
    ) -> None:
        super().__init__()
        self.gate_up = linear(inputs, 2 * hidden, rounded=rounded)
        self.down = linear(hidden, outputs, scale=out_scale, bias=bias, rounded=rounded)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class SequenceMixer(nn.Module):
    """A SwiGLU over the sequence, channel by channel, in attention's place (Sudoku, section B.1; as
    TRM's for fixed small boards). What it learns belongs to the places of one task.

    Args:
        tokens: length of the sequence.
        hidden: inner width.
    """

    def __init__(self, tokens: int, hidden: int) -> None:
        super().__init__()
        self.swiglu = SwiGLU(tokens, hidden, tokens)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """[B, L, D] -> [B, L, D]; all tokens see each other, so that no cache can serve."""
        assert cache is None, "a cache serves causal attention"
        mixed: Tensor = self.swiglu(x.transpose(1, 2))
        return mixed.transpose(1, 2)


class Block(nn.Module):
    """[mixer + feed-forward network] with post-norm residuals, x = norm(x + f(x)), which keeps the
    recursive state bounded.

    Args:
        mixer: what brings tokens together: attention, or a :class:`SequenceMixer`.
        ffn: [B, L, D] -> [B, L, D], token by token.
        norm_eps: epsilon of the norms.
    """

    def __init__(self, mixer: Attention | SequenceMixer, ffn: SwiGLU, *, norm_eps: float) -> None:
        super().__init__()
        self.mixer = mixer
        self.ffn = ffn
        self.norm_eps = norm_eps

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """[B, L, D] -> [B, L, D]; ``cache`` as of :class:`Attention`."""
        shape = (x.shape[-1],)
        x = F.rms_norm(x + self.mixer(x, cache), shape, eps=self.norm_eps)
        return F.rms_norm(x + self.ffn(x), shape, eps=self.norm_eps)


class Modulation(nn.Module):
    """adaLN: what a condition [B, condition] does to the D channels of all tokens, as ``parts``
    vectors; zeros at the start.
    """

    def __init__(self, condition: int, D: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = linear(condition, parts * D, scale=0.0, bias=True)

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """[B, condition] -> ``parts`` times [B, 1, D]."""
        return self.linear(condition)[:, None].chunk(self.parts, dim=-1)


class ModulatedBlock(nn.Module):
    """A bidirectional block whose two branches are modulated (adaLN-zero): x = norm(x + gate * f((1
    + scale) * x + shift)).

    A branch's input has unit RMS already, since the block is post-norm.

    Args:
        mixer, ffn, norm_eps: as of :class:`Block`.
        modulation: the condition -> shift, scale and gate of either branch.
    """

    def __init__(
        self,
        mixer: Attention | SequenceMixer,
        ffn: SwiGLU,
        modulation: Modulation,
        *,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.ffn = ffn
        self.modulation = modulation
        self.norm_eps = norm_eps

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, L, D], [B, condition] -> [B, L, D]."""
        shape = (x.shape[-1],)
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = self.modulation(condition)
        x = F.rms_norm(x + gate * self.mixer((1 + scale) * x + shift), shape, eps=self.norm_eps)
        return F.rms_norm(
            x + ffn_gate * self.ffn((1 + ffn_scale) * x + ffn_shift), shape, eps=self.norm_eps
        )


class Stack(nn.Module):
    """Blocks one after another: f_L and f_H are one stack each."""

    def __init__(self, *blocks: Block) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, caches: Sequence[Cache | None] | None = None) -> Tensor:
        """[B, L, D] -> [B, L, D]; ``caches`` are one for each block, see :class:`Attention`."""
        for block, cache in zip(self.blocks, caches or [None] * len(self.blocks), strict=True):
            x = block(x, cache)
        return x
