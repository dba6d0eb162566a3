"""The memory that a training takes, counted from its settings on the CPU."""

from __future__ import annotations

import torch

from gram.bench.flops import shape_of, supervised_loss
from gram.models.factory import build_model, parameter_count
from gram.models.network import Network
from gram.settings import RunSettings

# fp32 copies of the weights: themselves, their gradient, two moments of AdamW, and the moving
# average.
COPIES = 5


def kept_bytes(model: Network, settings: RunSettings, rows: int) -> int:
    """Bytes that autograd keeps between forward and backward pass of the run's model, in its
    precision, counted on the CPU.
    """
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=settings.train.precision == "bf16"),
    ):
        loss = supervised_loss(model, settings, rows)
    assert loss.requires_grad  # it still holds the graph, so that no address was used twice
    return sum(kept.values())


def peak_bytes(settings: RunSettings) -> int:
    """Bytes of the weights in training, and of what one (micro-)batch keeps for the backward pass,
    without compilation.
    """
    model = build_model(settings.model, shape_of(settings), seed=0)
    per_row = kept_bytes(model, settings, 3) - kept_bytes(
        model, settings, 2
    )  # what does not grow with the rows cancels
    rows = settings.train.micro_batch or settings.train.batch_size
    return COPIES * 4 * parameter_count(model) + rows * per_row
