"""The layers: scales at the start and after each block, and positions that count by their distance
only.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gram.models.building import in_sequence
from gram.models.layers import (
    Attention,
    Block,
    Embedding,
    Rotary,
    RoundedLinear,
    SequenceMixer,
    SwiGLU,
)


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    return generator


def test_embedding_starts_at_unit_variance() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        e = Embedding(1000, 64)(torch.arange(1000)[None]).detach()
    assert abs(float(e.std()) - 0.88) < 0.02  # 0.88: standard deviation of a normal cut at two


def test_rope_scores_depend_on_the_distance_only() -> None:
    length, d = 12, 8
    rotary = Rotary(in_sequence(length), d, 100.0)
    q, k = torch.randn(2, d, generator=seeded(0))
    turned_q, turned_k = rotary(q.expand(length, d)), rotary(k.expand(length, d))
    scores = turned_q @ turned_k.T
    by_distance = [scores.diagonal(offset) for offset in range(-length + 1, length)]
    assert all(
        torch.allclose(diagonal, diagonal[0].expand_as(diagonal), atol=1e-5)
        for diagonal in by_distance
    )
    assert torch.stack([diagonal[0] for diagonal in by_distance]).std() > 0.1
    assert torch.allclose(turned_q.norm(dim=-1), q.norm().expand(length), atol=1e-5)
    assert (
        torch.equal(turned_q[0], q)
        and rotary(q.expand(length, d).bfloat16()).dtype == torch.bfloat16
    )


@pytest.mark.parametrize("halves", [False, True])
def test_axial_rope_scores_depend_on_the_distance_along_each_axis(halves: bool) -> None:
    rows, columns, d = 3, 4, 8
    positions = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    rotary = Rotary(positions, d, 10.0, halves=halves)
    q, k = torch.randn(2, d, generator=seeded(0))
    scores = rotary(q.expand(rows * columns, d)) @ rotary(k.expand(rows * columns, d)).T
    by_distance: dict[tuple[int, ...], list[float]] = {}
    for one, here in enumerate(positions):
        for other, there in enumerate(positions):
            by_distance.setdefault(tuple((there - here).tolist()), []).append(
                float(scores[one, other])
            )
    assert all(max(found) - min(found) < 1e-5 for found in by_distance.values())
    means = torch.tensor([found[0] for found in by_distance.values()])
    assert (
        len(means.mul(1e4).round().unique())
        == len(by_distance)
        == (2 * rows - 1) * (2 * columns - 1)
    )


def test_rope_in_real_numbers_is_that_in_complex_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler is given, against the complex product, and both against float64."""
    rotary = Rotary(in_sequence(16), 8, 100.0)
    x = torch.randn(3, 16, 8, generator=seeded(0))
    product = rotary(x, 0)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    real = rotary(x, 0)
    pairs = torch.view_as_complex(x.double().view(3, 16, 4, 2))
    exact = torch.view_as_real(pairs * rotary.rotation.to(torch.complex128)).flatten(-2)
    for found in (product, real):
        assert torch.allclose(found.double(), exact, atol=1e-6)
    assert torch.equal(rotary(x[:, 5:6], 5), real[:, 5:6])


def test_an_axis_has_its_share_of_the_channels_and_the_frequencies_of_a_head_so_wide() -> None:
    x = torch.randn(4, 8, generator=seeded(0))
    along = torch.arange(4)
    turned = Rotary(torch.stack([along, 0 * along], dim=1), 8, 100.0)(x)
    assert torch.allclose(turned[:, :4], Rotary(in_sequence(4), 4, 100.0)(x[:, :4]), atol=1e-6)
    assert torch.equal(turned[:, 4:], x[:, 4:])


@pytest.mark.parametrize(
    "mixer",
    [Attention(8, heads=2, rotary=Rotary(in_sequence(5), 4, 100.0)), SequenceMixer(5, 12)],
    ids=lambda mixer: type(mixer).__name__,
)
def test_blocks_give_unit_rms_whatever_comes_in(mixer: Attention | SequenceMixer) -> None:
    block = Block(mixer, SwiGLU(8, 6, 8), norm_eps=1e-5)
    for size in (0.1, 1.0, 1000.0):
        y = block(size * torch.randn(3, 5, 8, generator=seeded(0)))
        assert torch.allclose(y.square().mean(dim=-1), torch.ones(3, 5), atol=2e-3)


def test_a_sequence_mixer_mixes_tokens_channel_by_channel() -> None:
    mixer = SequenceMixer(5, 12)
    x = torch.randn(3, 5, 8, generator=seeded(0))
    gate, up = mixer.swiglu.gate_up.weight.chunk(2)
    expected = torch.empty_like(x)
    for channel in range(8):
        column = x[:, :, channel]
        hidden = F.silu(column @ gate.T) * (column @ up.T)
        expected[:, :, channel] = hidden @ mixer.swiglu.down.weight.T
    assert torch.allclose(mixer(x), expected, atol=1e-6)


def test_rounded_products_have_factors_of_8_bits_and_sums_of_24() -> None:
    """Value and both gradients, against float64 products of the rounded factors."""
    layer = RoundedLinear(300, 7)
    x = torch.randn(2, 5, 300, generator=seeded(0)).requires_grad_()
    upstream = torch.randn(2, 5, 7, generator=seeded(1))
    y = layer(x)
    y.backward(upstream)
    a, b, g = (part.detach().bfloat16().double() for part in (x, layer.weight, upstream))
    assert y.dtype == torch.float32 and x.grad is not None
    torch.testing.assert_close(y.double(), a @ b.T + layer.bias.double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x.grad.double(), g @ b, rtol=1e-5, atol=1e-5)
    expected = g.flatten(0, 1).T @ a.flatten(0, 1)
    torch.testing.assert_close(layer.weight.grad.double(), expected, rtol=1e-5, atol=1e-5)
    exact = x.detach().double() @ layer.weight.detach().double().T + layer.bias.double()
    assert 1e-4 < (y - exact).abs().max() < 0.02  # the factors are rounded, indeed
