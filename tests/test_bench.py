"""The benchmark: FLOPs against torch's own counter, patches that change no number, measurements,
memory, and estimates.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.bench import estimate, measure, memory, timing, variants
from gram.bench.__main__ import main
from gram.bench.formula import row_flops, run_flops
from gram.bench.optimizations import OPTIMIZATIONS, Optimization, scale_of
from gram.models.factory import build_model
from gram.models.network import Given, Shape
from gram.settings import RunSettings
from gram.settings.config import load_experiment, resolve
from gram.system import files
from gram.system.errors import GramError
from gram.train.trainer import Trainer

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[1]


# FLOPs --------------------------------------------------------------------------------------------


def swiglu(inputs: int, hidden: int, outputs: int, *, backward: int) -> int:
    """FLOPs of one SwiGLU for one token; ``backward`` products follow each product of the forward
    pass.
    """
    return (1 + backward) * (2 * inputs * 2 * hidden + 2 * hidden * outputs)


@pytest.mark.parametrize(
    "changed",
    [{}, {"K": 3, "T": 3, "puzzle_tokens": 2}, {"guidance": "none"}, {"supervision": "all"}],
    ids=str,
)
def test_counted_flops_are_those_of_the_formula(
    changed: dict[str, Any], settings: RunSettings, change: Any
) -> None:
    settings = change(settings, **changed)
    model, train = settings.model, settings.train
    D, tokens = model.D, model.puzzle_tokens + 25
    layer = 2 * (4 * D * D + 2 * tokens * D) + swiglu(D, model.ffn_hidden, D, backward=0)
    flops = (
        (model.T - 1 + 3) * tokens * (model.K + 1) * model.layers * layer
    )  # gradient through the last transition alone
    flops += 25 * swiglu(D, model.decoder_hidden, 3, backward=2)
    if model.guidance == "full":
        hidden = model.guidance_hidden
        both = 2 * (swiglu(D, hidden, D, backward=2) + swiglu(2 * D, hidden, D, backward=2))
        flops += tokens * (both + (model.T - 1) * 2 * swiglu(D, hidden, D, backward=0))
    if train.supervision == "all":
        flops *= train.N_sup
    # The heads of halting and value, one token each, are counted as well.
    assert row_flops(settings) == pytest.approx(flops, rel=0.005)


# Variants and optimizations -----------------------------------------------------------------------


def test_a_variants_name_sets_precision_compilation_and_rows(
    settings: RunSettings, change: Any
) -> None:
    start = change(settings, precision="bf16", compile="graphs", micro_batch=2)
    for name, expected in {
        "fp32": ("fp32", "none", None),
        "bf16-compiled": ("bf16", "default", None),
        "bf16-graphs-micro4": ("bf16", "graphs", 4),
        "fp32-micro64": ("fp32", "none", 64),
    }.items():
        changed = variants.variant_settings(name, start)
        assert (
            changed.train.precision,
            changed.train.compile,
            changed.train.micro_batch,
        ) == expected
        assert (
            change(changed, precision="bf16", compile="graphs", micro_batch=2) == start
        )  # and nothing else


@pytest.mark.parametrize(
    "name", ["fp16", "fp32-fast", "", "compiled", "fp32-micro0", "fp32-micro4-compiled"]
)
def test_unknown_variant_is_named(name: str, settings: RunSettings) -> None:
    with pytest.raises(GramError, match=f"--variants {name}: expected"):
        variants.variant_settings(name, settings)


@pytest.mark.parametrize(
    "one", [one for one in OPTIMIZATIONS if one.patch], ids=lambda one: one.name
)
@pytest.mark.parametrize("charged", ["last", "all"])
def test_the_other_way_computes_the_same_step(
    one: Optimization, charged: str, settings: RunSettings, data_folder: Path, change: Any
) -> None:
    settings = change(settings, T=3, charged=charged)
    same, patched = (Trainer(settings, data_folder, Path("unused"), CPU) for _ in range(2))
    assert one.patch is not None
    before = patched.model.back.head.down.weight.clone()
    for trainer, context in ((same, nullcontext()), (patched, one.patch(patched))):
        with context:
            for _ in range(2):
                trainer.train_step()
    assert not torch.equal(before, patched.model.back.head.down.weight)
    for nets in ((same.model, patched.model), (same.ema.model, patched.ema.model)):
        expected, found = (net.state_dict() for net in nets)
        # Adam's step is a sign where the gradient is near zero, so last bits may show there.
        assert all(
            torch.allclose(found[name], value, rtol=1e-4, atol=1e-4)
            for name, value in expected.items()
        )
    # Afterwards nothing is left of the patch: the next step is computed as ever.
    patched.model.load_state_dict(same.model.state_dict())
    logits = []
    for trainer in (same, patched):
        generator = torch.Generator()
        generator.manual_seed(0)
        inputs = same.stream.inputs
        noise = trainer.model.draw_noise(len(inputs), generator)
        logits.append(
            trainer.model(same.stream.state, Given(inputs), targets=inputs, noise=noise).logits
        )
    assert torch.equal(*logits)


def calls(trainer: Trainer, context: Any) -> list[str]:
    """The operations that a step runs, by name."""
    with (
        context,
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile,
    ):
        trainer.train_step()
    return [event.name for event in profile.events()]


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("fused AdamW", "aten::_fused_adamw_"),
        ("foreach moving average", "aten::_foreach_lerp_"),
        ("fused attention", "aten::scaled_dot_product_attention"),
        ("complex rotation", "aten::view_as_complex"),
    ],
)
def test_a_patch_takes_the_optimization_away(
    name: str, operation: str, settings: RunSettings, data_folder: Path
) -> None:
    (one,) = [one for one in OPTIMIZATIONS if one.name == name]
    trainer = Trainer(settings, data_folder, Path("unused"), CPU)
    assert one.patch is not None
    assert operation in calls(trainer, nullcontext())
    assert operation not in calls(trainer, one.patch(trainer))
    assert operation in calls(trainer, measure.as_patched(one, trainer, True))


def test_more_products_and_records_without_their_optimizations(
    settings: RunSettings, data_folder: Path
) -> None:
    patches = {one.name: one.patch for one in OPTIMIZATIONS}
    trainer = Trainer(settings, data_folder, Path("unused"), CPU)
    plain = calls(trainer, nullcontext())
    split = patches["gate and up in one product"]
    recorded = patches["first transitions without gradient"]
    read = patches["sums stay on the device"]
    assert split is not None and recorded is not None and read is not None
    assert calls(trainer, split(trainer)).count("aten::mm") > plain.count("aten::mm")
    assert calls(trainer, recorded(trainer)).count("aten::detach") > plain.count("aten::detach")
    assert calls(trainer, read(trainer)).count("aten::item") > plain.count("aten::item")


def test_filling_memory_is_restored(settings: RunSettings, data_folder: Path) -> None:
    (one,) = [one for one in OPTIMIZATIONS if one.name == "new memory is not filled"]
    flags: Any = torch.utils.deterministic
    assert one.patch is not None and flags.fill_uninitialized_memory
    with one.patch(Trainer(settings, data_folder, Path("unused"), CPU)):
        assert not flags.fill_uninitialized_memory
    assert flags.fill_uninitialized_memory


def test_every_optimization_has_one_way_to_switch_it_and_a_reasoned_prediction() -> None:
    assert len({one.name for one in OPTIMIZATIONS}) == len(OPTIMIZATIONS)
    for one in OPTIMIZATIONS:
        assert bool(one.patch) != bool(one.settings) and one.predicted and one.reason, one.name


def test_predictions_are_made_per_scale(settings: RunSettings, change: Any) -> None:
    assert scale_of(settings, CPU) == "small"
    assert scale_of(change(settings, D=512), CPU) == "paper"
    assert scale_of(settings, torch.device("cuda")) == "gpu"


# Measurements -------------------------------------------------------------------------------------


@pytest.fixture
def config(settings: RunSettings, tmp_path: Path) -> Path:
    """config.json of the tiny run."""
    files.write_json(tmp_path / "config.json", settings.as_dict())
    return tmp_path / "config.json"


def test_everything_is_measured_in_every_turn(
    settings: RunSettings,
    config: Path,
    data_folder: Path,
    command: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        timing.PEAK_SIZE, "cpu", 256
    )  # bf16 products are slow on processors without such instructions
    kept = [
        one
        for one in OPTIMIZATIONS
        if one.name in ("fused AdamW", "bf16 forward", "CUDA graphs", "new memory is not filled")
    ]
    monkeypatch.setattr(measure, "OPTIMIZATIONS", kept)
    output = tmp_path / "bench.json"
    sizes = (
        "--variants",
        "fp32",
        "bf16-micro4",
        "--steps",
        1,
        "--turns",
        3,
        "--optimizations",
        "--device",
        "cpu",
    )
    outcome = command(
        main, "speed", "--config", config, "--data", data_folder, "--output", output, *sizes
    )
    assert outcome.code == 0, outcome.err
    result = files.read_json(output)
    assert list(result["variants"]) == ["fp32", "bf16-micro4"]
    for found in result["variants"].values():
        for share in ("share_of_own_peak", "share_of_highest_peak"):
            least, median, most = found[share]
            assert 0 < least <= median <= most < 1
        rate, seconds = found["examples_per_second"][1], found["seconds_per_step"][1]
        assert rate * seconds == pytest.approx(settings.train.batch_size / settings.train.N_sup)
        assert found["peak_memory_bytes"] > 50e6  # a process with torch in it
        profile = found["profile"]
        kernels = profile["kernels"]
        assert profile["launches_per_step"] >= sum(one["launches_per_step"] for one in kernels)
        assert profile["bytes_allocated_per_step"] > 0 and kernels[0]["share"] > 0.01
        assert any(one["name"].startswith("aten::") for one in kernels)
        shares = [one["share"] for one in kernels]
        assert shares == sorted(shares, reverse=True) and sum(shares) <= 1 + 1e-9
    assert result["variants"]["fp32"]["speed_against_first"] == [1, 1, 1]
    assert result["flops_per_step"] == settings.train.batch_size * row_flops(settings)
    assert set(result["optimizations"]) == {
        "fused AdamW",
        "bf16 forward",
        "new memory is not filled",
    }  # no graphs on a CPU
    assert {name: found["kept"] for name, found in result["optimizations"].items()} == {
        "fused AdamW": "yes",
        "bf16 forward": "a setting",
        "new memory is not filled": "no",
    }
    for found in result["optimizations"].values():
        least, gain, most = found["gain"]
        assert 0 < least <= gain <= most and found["predicted"] > 0 and found["seconds_with"][0] > 0
    assert result["measured_by"]["device_type"] == "cpu" and result["measured_by"]["code_hash"]


def test_a_gain_is_the_time_without_over_the_time_with(
    settings: RunSettings, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that tells the two sides apart: 3 seconds without, 2 with, whichever side the
    patch is.
    """
    patching = {one.kept: one for one in reversed(OPTIMIZATIONS) if one.patch}
    always, never = patching[True], patching[False]
    monkeypatch.setattr(measure, "OPTIMIZATIONS", [always, never])
    seen: list[bool] = []
    patched = measure.as_patched

    def watched(one: Optimization, trainer: Trainer, switched_on: bool) -> Any:
        seen.append(switched_on)
        return patched(one, trainer, switched_on)

    monkeypatch.setattr(measure, "as_patched", watched)
    monkeypatch.setattr(measure, "timed", lambda work, times, device: 2.0 if seen[-1] else 3.0)
    found = measure.gains(settings, data_folder, CPU, steps=1, turns=2)
    assert {tuple(one["gain"]) for one in found.values()} == {(1.5, 1.5, 1.5)}
    assert seen[2:6] == [True, False, False, True]  # after the warm-up, in alternating order


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--steps", 0), "at least 1"),
        (("--variants", "fp32", "fp32"), "all different"),
        (("--variants", "fp64"), "--variants fp64: expected"),
        (("--data", "nowhere"), "fp32: nowhere/card.json: no such file"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[object, ...],
    expected: str,
    config: Path,
    data_folder: Path,
    command: Any,
    tmp_path: Path,
) -> None:
    output = tmp_path / "out.json"
    given = (
        "speed",
        "--config",
        config,
        "--data",
        data_folder,
        "--output",
        output,
        "--device",
        "cpu",
    )
    outcome = command(main, *given, *arguments)
    assert outcome.code == 2 and expected in outcome.err and outcome.err.count("\n") == 1
    assert not output.exists()


def test_memory_command_prints_bytes(config: Path, data_folder: Path, command: Any) -> None:
    outcome = command(
        main,
        "memory",
        "--config",
        config,
        "--data",
        data_folder,
        "--variant",
        "fp32",
        "--device",
        "cpu",
    )
    assert outcome.code == 0 and json.loads(outcome.out) > 50e6


# Estimates ----------------------------------------------------------------------------------------


def test_kept_bytes_grow_by_row_and_hold_the_last_transition_only(
    settings: RunSettings, change: Any
) -> None:
    def kept(settings: RunSettings, rows: int) -> int:
        return memory.kept_bytes(build_model(settings.model, Shape(25, 3), seed=0), settings, rows)

    one, two, three = (kept(settings, rows) for rows in (1, 2, 3))
    assert three - two == pytest.approx(two - one, rel=0.05)
    # Two transitions more draw noise of 2 rows, 26 tokens, 16 channels each, and keep nothing else.
    assert kept(change(settings, T=4), 2) - two == 2 * 2 * 26 * 16 * 4
    assert kept(change(settings, K=3), 2) > two
    # At least queries, keys and values, and gate and up, of every stack.
    model, tokens = settings.model, 26
    assert two - one > (model.K + 1) * tokens * (3 * model.D + 2 * model.ffn_hidden) * 4


def test_estimate_multiplies_flops_by_runs_and_price(settings: RunSettings) -> None:
    flops = run_flops(settings)
    assert flops == 24 * 8 * row_flops(settings)
    one = estimate.Estimate(settings, 3, 36 * 10**15, 2**30)
    rate = estimate.Rate(1e13, "assumed", 0.5, "a price list")
    head, _, line, _, total = estimate.table([one, one._replace(memory=None)], "A GPU", rate)
    assert head == "ESTIMATE on A GPU: assumed; 0.5 dollars an hour (a price list)."
    assert (
        line == "ESTIMATE nqueens5 gram: 3 trainings of 1.0 GPU hours (3.6e+16 FLOPs, 1.0 GiB), 3.0"
        " together"
    )
    assert total == "ESTIMATE in all: 6 trainings, 6.0 GPU hours, 3 dollars"


def test_estimate_reads_the_workflows_configuration(command: Any) -> None:
    config = estimate.workflow_config(ROOT / "config/config.yaml", ROOT)
    found = {
        (run.task, run.method): count
        for run, count in estimate.planned(config, estimate.listed(config, ROOT), ROOT)
    }
    assert (
        found["nqueens5-fold0", "gram"] == 8 and found["coloring5", "gram"] == 2
    )  # four folds or none, two seeds
    some = ["nqueens5-fold3/gram/seed7", "nqueens5-fold1/gram/seed0", "nqueens8/hrm/seed4"]
    counted = [(run.task, run.seed, count) for run, count in estimate.planned(config, some, ROOT)]
    assert counted == [
        ("nqueens5-fold3", 7, 2),
        ("nqueens8", 4, 1),
    ]  # also what the configuration does not list
    smoke = estimate.workflow_config(ROOT / "config/smoke.yaml", ROOT)
    planned = list(estimate.planned(smoke, estimate.listed(smoke, ROOT), ROOT))
    rehearsal = planned[0][0]
    assert (
        rehearsal.train.steps == 60 and rehearsal.seed == 1000
    )  # runs and overrides are laid over
    given = (
        "estimate",
        "--workflow",
        ROOT / "config/smoke.yaml",
        "--root",
        ROOT,
        "--gpu",
        "NVIDIA GeForce RTX 4090",
    )
    outcome = command(main, *given, "--share", 0.5, "--dollars-per-hour", 2)
    assert outcome.code == 0 and len(outcome.out.splitlines()) == 3 + len(planned)
    assert "at most 1" in command(main, *given, "--share", 2).err
    assert "no key `estimate` with a gpu" in command(main, *given[:-2]).err


def test_a_measured_rate_takes_the_place_of_the_assumption(tmp_path: Path) -> None:
    files.write_text(
        tmp_path / "resources/gpus.yaml",
        "G: {bf16_tflops: 100, dollars_per_hour: 1, price: a list}\n",
    )
    assumed = estimate.rate_of("G", 0.25, None, "bf16", tmp_path)
    assert assumed.flops_per_second == 25e12
    assert assumed.basis == "25% of its peak of 100 TFLOP/s, which is assumed, and was not measured"
    variants = {
        "bf16": {"flops_per_second": [1e12, 3e13, 4e13]},
        "fp32": {"flops_per_second": [1e12, 9e13, 9e13]},
    }
    result = {
        "task": "nqueens8",
        "method": "gram",
        "variants": variants,
        "measured_by": {"device": "G"},
    }
    files.write_json(tmp_path / "resources/benchmarks/g.json", result)
    measured = estimate.rate_of("G", 0.25, 2, "bf16", tmp_path)
    assert (measured.flops_per_second, measured.dollars) == (3e13, 2)
    assert (
        measured.basis
        == "30 TFLOP/s, as measured in resources/benchmarks/g.json: gram on nqueens8, bf16"
    )
    with pytest.raises(
        GramError, match=r"no GPU 'H' \(add yours with its peak and price\); known ones: G"
    ):
        estimate.rate_of("H", 0.25, None, "bf16", tmp_path)
    files.write_text(tmp_path / "resources/gpus.yaml", "G: {bf16_tflops: 100}\n")
    with pytest.raises(GramError, match="no dollars_per_hour of 'G'"):
        estimate.rate_of("G", 0.25, None, "bf16", tmp_path)


def test_the_measurements_of_an_h200_are_of_their_settings_and_used() -> None:
    """Not those of a prototype; and a price has to be given, since none is known."""
    for path in (ROOT / "resources/benchmarks").glob("h200_*.json"):
        found = files.read_json(path)
        settings = RunSettings.of(found["settings"], str(path))
        assert found["flops_per_step"] == settings.train.batch_size * row_flops(settings)
    rate = estimate.rate_of("NVIDIA H200", None, 4.0, "bf16", ROOT)
    assert rate.flops_per_second == pytest.approx(15.1e12 / 0.1016, rel=1e-3)
    assert rate.basis.endswith("h200_paper_size.json: gram on nqueens8, bf16-compiled")
    with pytest.raises(GramError, match="no dollars_per_hour of 'NVIDIA H200'"):
        estimate.rate_of("NVIDIA H200", None, None, "bf16", ROOT)


def test_without_a_share_it_is_what_others_reached(tmp_path: Path) -> None:
    unknown = {"bf16_tflops": 100, "dollars_per_hour": 1}
    files.write_text(tmp_path / "resources/gpus.yaml", json.dumps({"G": unknown}))
    with pytest.raises(GramError, match=r"no GPU has `published`.*set `share`"):
        estimate.rate_of("G", None, None, "bf16", tmp_path)
    experiment = (
        "generator: {removed: [3]}\nmodel: {D: 64, heads: 1}\ntrain: {N_sup: 5}\nmethods: {gram:"
        " {}}\n"
    )
    files.write_text(tmp_path / "config/experiments/nqueens5.yaml", experiment)
    published = {
        "task": "nqueens5",
        "method": "gram",
        "examples_per_second": 1000,
        "source": "a page",
    }
    gpus = {"G": unknown, "H": {"bf16_tflops": 2, "published": published}}
    files.write_text(tmp_path / "resources/gpus.yaml", json.dumps(gpus))
    per_row = row_flops(
        resolve(
            load_experiment(tmp_path / "config/experiments/nqueens5.yaml"), "nqueens5", "gram", 0
        )
    )
    share = 5 * 1000 * per_row / 2e12  # an example has five supervision steps
    rate = estimate.rate_of("G", None, None, "bf16", tmp_path)  # of H's peak, carried over to G's
    assert rate.flops_per_second == pytest.approx(share * 1e14)
    assert (
        rate.basis
        == f"{share:.0%} of its peak of 100 TFLOP/s, as others measured, not we: 1000 examples a"
        " second of nqueens5 on H, a page"
    )


@pytest.mark.parametrize("text", ["{broken", "- a list"])
def test_a_broken_configuration_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        GramError, match=r"broken\.yaml: (not a YAML file|expected keys and values)"
    ):
        estimate.workflow_config(path, ROOT)
