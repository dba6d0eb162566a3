"""The benchmark: FLOPs against torch's own counter, the variants' results, and bad input in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gram import bench, files
from gram.errors import GramError
from gram.settings import RunSettings
from gram.trainer import Trainer

CPU = torch.device("cpu")


@pytest.mark.parametrize("model", [{}, {"K": 3, "T": 3, "puzzle_tokens": 2}, {"guidance": "none"}, {"posterior": "pooled"}])
def test_step_flops_agree_with_the_counter_of_torch(
    model: dict[str, Any], settings: RunSettings, data_folder: Path, change: Any
) -> None:
    settings = change(settings, **model)
    trainer = Trainer(settings, data_folder, Path("unused"), CPU)
    # The counter does not know attention's fused CPU kernel, but the products that it stands for.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        trainer.train_step()
    stated = settings.train.batch_size * bench.step_flops(settings.model, length=25, vocabulary=3)
    # The counter also has the two linear maps of the auxiliary heads.
    assert stated == pytest.approx(counter.get_total_flops(), rel=0.005)


def test_charging_all_transitions_costs_more(settings: RunSettings) -> None:
    model = dataclasses.replace(settings.model, T=3)
    cheap, dear = (bench.step_flops(model, length=25, vocabulary=3, charge_all=charge_all) for charge_all in (False, True))
    assert dear > cheap


def test_every_variant_is_timed_in_every_turn(
    settings: RunSettings, data_folder: Path, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bench.PEAK_SIZE, "cpu", 256)  # bf16 products are slow on processors without such instructions
    config, output = tmp_path / "config.json", tmp_path / "bench.json"
    files.write_json(config, settings.as_dict())
    sizes = ("--variants", "fp32", "bf16", "--steps", 1, "--turns", 3, "--device", "cpu")
    outcome = command(bench.main, "--config", config, "--data", data_folder, "--output", output, *sizes)
    assert outcome.code == 0, outcome.err
    result = files.read_json(output)
    assert list(result["variants"]) == ["fp32", "bf16"]
    for found in result["variants"].values():
        least, median, most = found["share_of_matmul_peak"]
        assert 0 < least <= median <= most < 1
        rate, seconds = found["examples_per_second"][1], found["seconds_per_step"][1]
        assert rate * seconds == pytest.approx(settings.train.batch_size / settings.train.N_sup)
    assert result["variants"]["fp32"]["speed_against_fp32"] == [1, 1, 1]


@pytest.mark.parametrize("name", ["fp16", "fp32-fast", ""])
def test_unknown_variant_is_named(name: str, settings: RunSettings, data_folder: Path) -> None:
    with pytest.raises(GramError, match="--variants"):
        bench.build_variant(name, settings, data_folder, CPU)
