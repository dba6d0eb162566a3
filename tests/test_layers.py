"""The layers: scales at the start and after each block, and positions that count by their distance only."""

from __future__ import annotations

import torch

from gram.models.layers import Block, Embedding, Rotary


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
    rotary = Rotary(length, d, 100.0)
    q, k = torch.randn(2, d, generator=seeded(0))
    turned_q, turned_k = rotary(q.expand(length, d)), rotary(k.expand(length, d))
    scores = turned_q @ turned_k.T
    by_distance = [scores.diagonal(offset) for offset in range(-length + 1, length)]
    assert all(torch.allclose(diagonal, diagonal[0].expand_as(diagonal), atol=1e-5) for diagonal in by_distance)
    assert torch.stack([diagonal[0] for diagonal in by_distance]).std() > 0.1
    assert torch.allclose(turned_q.norm(dim=-1), q.norm().expand(length), atol=1e-5)
    assert torch.equal(turned_q[0], q) and rotary(q.expand(length, d).bfloat16()).dtype == torch.bfloat16


def test_blocks_give_unit_rms_whatever_comes_in() -> None:
    block = Block(8, heads=2, ffn_hidden=6, rotary=Rotary(5, 4, 100.0), norm_eps=1e-5)
    for size in (0.1, 1.0, 1000.0):
        y = block(size * torch.randn(3, 5, 8, generator=seeded(0)))
        assert torch.allclose(y.square().mean(dim=-1), torch.ones(3, 5), atol=2e-3)
