"""The processes that train together, and sums over shards."""

from __future__ import annotations

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

    def sum(self, values: list[float]) -> list[float]:
        """Each value's sum over the ranks."""
        total = torch.tensor(values, dtype=torch.float64, device=_device_of(self._group))
        dist.all_reduce(total, group=self._group)
        result: list[float] = total.tolist()
        return result


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
