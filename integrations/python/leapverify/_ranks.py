"""The processes that train together: agreement on held-out losses, and sums over shards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ._core import ContractError

try:
    from torch.distributed.tensor import DTensor, Shard
except ImportError:  # torch without distributed
    DTensor = None  # type: ignore[assignment, misc]


def _device_of(group: Any) -> torch.device:
    """Where tensors must lie that a group exchanges: a backend for both devices takes the CPU's."""
    only_cuda = "gloo" not in str(dist.get_backend(group))
    return torch.device("cuda", torch.cuda.current_device()) if only_cuda else torch.device("cpu")


class Ranks:
    """A process group, or a process alone."""

    def __init__(self, group: Any = "auto"):
        if group == "auto":
            group = dist.group.WORLD if dist.is_available() and dist.is_initialized() else None
        self._group = group
        self.size: int = dist.get_world_size(group) if group is not None else 1
        self.rank: int = dist.get_rank(group) if self.size > 1 else 0
        self.first: bool = self.rank == 0

    def agree(
        self,
        compute: Callable[[Sequence[int]], tuple[Tensor, Tensor | None]],
        sequences: Sequence[int],
        activations: bool,
        together: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Losses of the sequences and their activations if asked for, the same on every rank. Each rank computes those
        whose number is its own modulo the number of ranks, so that a sequence is always the same rank's; with `together`
        each computes all, and the first rank's count. Raises everywhere where `compute` raises anywhere."""
        if self.size == 1:
            return compute(sequences)
        count = len(sequences)
        places = [place for place, sequence in enumerate(sequences) if sequence % self.size == self.rank]
        asked = [sequences[place] for place in places]
        if together:
            asked, places = list(sequences), list(range(count)) if self.first else []
        failure: Exception | None = None
        losses, vectors = torch.empty(0), None
        try:
            if asked:
                losses, vectors = compute(asked)
                _check_shapes(losses, vectors, len(asked), activations)
        except Exception as error:
            failure = error
        # One sum carries all: each place is written by one rank, and zeros leave it bitwise as it is.
        device = _device_of(self._group)
        shared = torch.zeros(count + 1, dtype=torch.float64, device=device)
        if failure is not None:
            shared[count] = 1
        elif places:
            shared[places] = losses.detach().double().to(device)
        dist.all_reduce(shared, group=self._group)
        if failure is not None:
            raise failure
        if shared[count] > 0:
            raise ContractError(f"the evaluator failed on {int(shared[count])} of {self.size} ranks")
        return shared[:count].cpu(), self._gathered(vectors, places, count, device) if activations else None

    def _gathered(self, vectors: Tensor | None, places: list[int], count: int, device: torch.device) -> Tensor:
        # A rank that had nothing to run does not know how wide they are.
        width = float(vectors.shape[1]) if vectors is not None else -math.inf
        widths = torch.tensor([width, -width if vectors is not None else -math.inf], dtype=torch.float64, device=device)
        dist.all_reduce(widths, dist.ReduceOp.MAX, group=self._group)
        if widths[0] != -widths[1]:
            raise ContractError("activation vectors are of different lengths on different ranks")
        whole = torch.zeros(count, int(widths[0]), device=device)
        if places and vectors is not None:
            whole[places] = vectors.detach().float().to(device)
        dist.all_reduce(whole, group=self._group)
        return whole


def _check_shapes(losses: Tensor, vectors: Tensor | None, count: int, activations: bool) -> None:
    if losses.shape != (count,):
        raise ContractError(f"the evaluator must return one loss for each of {count} sequences")
    if activations and (vectors is None or vectors.dim() != 2 or vectors.shape[0] != count):
        raise ContractError(f"the evaluator must return one activation vector for each of {count} sequences")


def is_distributed(tensor: Tensor) -> bool:
    return DTensor is not None and isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """What lies on this rank."""
    return tensor.to_local() if is_distributed(tensor) else tensor  # type: ignore[attr-defined]


class Shards:
    """How parameters are sharded: all in the same way, or not at all."""

    def __init__(self, parameters: list[Tensor]):
        kinds = {self._kind(parameter) for parameter in parameters}
        if len(kinds) > 1:
            raise ContractError(
                "parameters are sharded in different ways, some perhaps not at all; apply fully_shard to all of them"
            )
        self._groups = list(kinds.pop()) if kinds else []

    @staticmethod
    def _kind(parameter: Tensor) -> tuple[Any, ...]:
        """The process groups over which it is sharded."""
        if not is_distributed(parameter):
            return ()
        mesh, placements = parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]
        return tuple(mesh.get_group(i) for i, placement in enumerate(placements) if isinstance(placement, Shard))

    def __bool__(self) -> bool:
        return bool(self._groups)

    def sum(self, values: list[float]) -> list[float]:
        total = torch.tensor(values, dtype=torch.float64, device=_device_of(self._groups[0]))
        for group in self._groups:
            dist.all_reduce(total, group=group)
        result: list[float] = total.tolist()
        return result
