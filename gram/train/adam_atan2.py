"""AdamATan2 (arXiv:2407.05872), the optimizer of HRM and TRM: Adam with an arc tangent in place of
the quotient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class AdamATan2(torch.optim.Optimizer):
    """Decoupled weight decay, then p <- p - lr / (1 - beta1^t) * atan2(m, sqrt(v / (1 - beta2^t))).

    The gradient's scale does not matter, and there is no epsilon. m is corrected outside the arc
    tangent, as in the package that HRM and TRM train with; the paper corrects it inside, which
    makes the first steps smaller by a factor of up to pi/4.

    Args:
        params: parameters, or groups of them. A group with ``sign: True`` is trained by SignSGD
        instead, p <- p - lr * sign(g).
        lr: learning rate.
        betas: decay of m and of v.
        weight_decay: decoupled: p <- (1 - lr * weight_decay) * p before the step.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "sign": False}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step on the gradients that the parameters hold; those without one stay as they
        are.
        """
        for group in self.param_groups:
            lr = group["lr"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.mul_(1 - lr * group["weight_decay"])
                if group["sign"]:
                    p.sub_(p.grad.sign(), alpha=lr)
                else:
                    correction, direction = self._direction(self.state[p], p.grad, *group["betas"])
                    p.sub_(direction, alpha=lr / correction)

    def _direction(
        self, state: dict[str, Tensor], gradient: Tensor, beta1: float, beta2: float
    ) -> tuple[float, Tensor]:
        """Moves the moments in ``state``; returns 1 - beta1^t, and atan2(m, sqrt(v / (1 -
        beta2^t))).
        """
        if not state:
            state["step"] = torch.zeros(())  # on the CPU, so that reading it never waits for a GPU
            state["m"], state["v"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["step"] += 1
        t = state["step"].item()
        m = state["m"].lerp_(gradient, 1 - beta1)
        v = state["v"].lerp_(gradient.square(), 1 - beta2)
        return 1 - beta1**t, torch.atan2(m, v.sqrt().div_(math.sqrt(1 - beta2**t)))
