"""What a training loop can hand over beside its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class StepRunner(Protocol):
    """A training loop that can compute the gradients of any step again. Needed for ``verification.when``: settled and
    raced, for ``schedule="advance"`` and ``data="skip"``. The loop then takes its own positions from here too."""

    def position(self) -> tuple[int, int]:
        """Steps of the data and of the learning-rate schedule done so far."""

    def seek(self, data: int, schedule: int) -> None:
        """Moves both."""

    def backward(self) -> None:
        """One step up to the optimizer's: zeroes the gradients, sets the learning rates that the schedule says, runs
        forward and backward on the batch, clips; moves both positions on by one. Depends on nothing but the positions,
        the model and torch's random generators."""


@dataclass
class TrainingBatch:
    """A training step as a closure whose batch can serve as held-out data first: with ``gate="next_batch"``, a try that
    is due is made on it before the step is taken. Any optimizer's ``step(closure)`` takes it.

    Args:
        sequences: n, of this rank, equally many on each.
        losses: runs the model forward on the batch as training does and returns the loss of each sequence, [n].
        zero_grad: called before the step's own forward pass.
        backward: instead of ``losses().mean().backward()``: forward, backward, clipping; returns the loss.
        seen: the batch was trained on before, as in a later epoch; then it is not held out.
    """

    sequences: int
    losses: Callable[[], Tensor]
    zero_grad: Callable[[], None] | None = None
    backward: Callable[[], Any] | None = None
    seen: bool = False

    def __call__(self) -> Any:
        if self.zero_grad is not None:
            self.zero_grad()
        with torch.enable_grad():
            if self.backward is not None:
                return self.backward()
            loss = self.losses().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss
