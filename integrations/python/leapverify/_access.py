"""What the C++ core asks of Python's optimizers, models and evaluators; see runtime/base_optimizer.h,
runtime/trained_model.h and runtime/evaluator.h."""

from __future__ import annotations

import numbers
import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ._build import CUDA
from ._core import ContractError, InvalidOption
from ._ranks import Ranks, Shards, is_distributed, local
from .evaluators import Evaluator, bare_model

# The moments of torch's own optimizers, by their names in the state.
_MOMENTS = {
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "grad_avg", "acc_delta", "sum",
}  # fmt: skip
_WITH_MOMENTS = {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adamax", "NAdam", "RAdam", "Adadelta", "Muon"}


def check_base(base: torch.optim.Optimizer) -> None:
    """Refuses what cannot work, with the reason."""
    if isinstance(base, torch.optim.LBFGS):
        raise InvalidOption(
            "base optimizer = LBFGS: it evaluates the loss several times a step and keeps directions that a leap would "
            "falsify; legal are optimizers that take one step a call"
        )
    module = type(base).__module__.split(".")[0]
    if module == "accelerate" or hasattr(base, "leap_state"):
        raise InvalidOption(
            f"base optimizer = {type(base).__name__}: it wraps another one; legal is the optimizer itself, to be wrapped "
            "before accelerator.prepare()"
        )
    masters = [
        name
        for name in ("single_partition_of_fp32_groups", "fp32_groups_flat", "fp32_from_float16_groups", "fp32_from_fp16_groups",
                     "shard_fp32_from_float16_groups")
        if hasattr(base, name)
    ]  # fmt: skip
    if module in ("deepspeed", "megatron") or masters:
        raise InvalidOption(
            f"base optimizer = {type(base).__module__}.{type(base).__name__}: it keeps the float32 weights that it "
            "trains in tensors of its own, where a leap in the model's would be overwritten; legal are optimizers over "
            "the model's own parameters (FSDP2's fully_shard, DDP)"
        )
    for number, group in enumerate(base.param_groups):
        if not isinstance(group.get("lr"), (numbers.Real, Tensor)):
            raise InvalidOption(f"base optimizer: param group {number} has lr = {group.get('lr')!r}; legal is a number")


def check_device(device: torch.device) -> None:
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not CUDA):
        raise InvalidOption(
            f"model: its parameters are on {device}; legal is "
            + ("the CPU or a CUDA device" if CUDA else "the CPU, for this leapverify is a CPU-only build (no CUDA 13 toolkit was found)")
        )


def _momentum(group: dict[str, Any]) -> tuple[float, bool]:
    """What a group keeps of past gradients at a step, 0 where that is nothing or no number that can be set, and whether
    that is Adam's first beta."""
    of_adam = bool(group.get("betas"))
    kept = group["betas"][0] if of_adam else group.get("momentum", 0)
    return float(kept) if isinstance(kept, numbers.Real) and not isinstance(kept, bool) else 0.0, of_adam


class _Kept:
    """The entries of a dictionary, of tensors the contents too, which are put back in place."""

    def __init__(self, entries: dict[str, Any]):
        self._entries = dict(entries)
        self._contents = {name: value.clone() for name, value in entries.items() if isinstance(value, Tensor)}

    def put_back(self, entries: dict[str, Any]) -> None:
        entries.clear()
        entries.update(self._entries)
        with torch.no_grad():
            for name, contents in self._contents.items():
                self._entries[name].copy_(contents)


class OptimizerAccess:
    def __init__(self, base: torch.optim.Optimizer):
        self.base = base
        self._shards = Shards(self.trained())

    def trained(self) -> list[Tensor]:
        return [p for group in self.base.param_groups for p in group["params"] if p.requires_grad]

    def parameter_lists(self) -> list[list[Tensor]]:
        return [group["params"] for group in self.base.param_groups]

    def sharded(self) -> bool:
        return bool(self._shards)

    def shards(self, parameters: list[Tensor]) -> list[Tensor]:
        return [local(parameter.detach()) for parameter in parameters]

    def gradient_shards(self, parameters: list[Tensor]) -> list[Tensor | None]:
        return [local(parameter.grad) if parameter.grad is not None else None for parameter in parameters]

    def sum_over_shards(self, values: list[float]) -> list[float]:
        return self._shards.sum(values)

    def learning_rates(self) -> list[float]:
        return [float(group["lr"]) for group in self.base.param_groups]

    def set_learning_rates(self, rates: list[float]) -> None:
        for group, rate in zip(self.base.param_groups, rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def momenta(self) -> list[tuple[float, bool]]:
        return [_momentum(group) for group in self.base.param_groups]

    def set_momenta(self, momenta: list[float]) -> None:
        for group, momentum in zip(self.base.param_groups, momenta, strict=True):
            if momentum == 0:
                continue
            if group.get("betas"):
                group["betas"] = type(group["betas"])((momentum, *group["betas"][1:]))
            else:
                group["momentum"] = momentum

    def step(self, closure: Callable[[], Any] | None) -> Any:
        return self.base.step() if closure is None else self.base.step(closure)

    def zero_grad(self, set_to_none: bool) -> None:
        self.base.zero_grad(set_to_none)

    def check_moments_known(self) -> None:
        """For the policies that scale or reset them."""
        kind = type(self.base)
        if not kind.__module__.startswith("torch.optim") or kind.__name__ not in _WITH_MOMENTS:
            raise InvalidOption(
                f"moments: the state of {kind.__module__}.{kind.__name__} is not known; legal is keep, or one of torch's "
                + ", ".join(sorted(_WITH_MOMENTS))
            )

    def scale_moments(self, factor: float) -> None:
        moments = [
            value for state in self.base.state.values() for name, value in state.items()
            if name in _MOMENTS and isinstance(value, Tensor)
        ]  # fmt: skip
        if moments:
            torch._foreach_mul_(moments, factor)

    def reset_state(self) -> None:
        if not isinstance(self.base, torch.optim.Adagrad):
            self.base.state.clear()
            return
        # Adagrad makes its state at construction and expects it to be there.
        for group in self.base.param_groups:
            for parameter in group["params"]:
                state = self.base.state[parameter]
                state["step"].zero_()
                state["sum"].fill_(group["initial_accumulator_value"])

    def check_has_moments(self) -> None:
        base = self.base
        sgd = isinstance(base, torch.optim.SGD) and all(group["momentum"] > 0 for group in base.param_groups)
        if not sgd and not isinstance(base, (torch.optim.Adam, torch.optim.AdamW)):
            raise InvalidOption(
                "predictor = momentum: the base optimizer has no moments that are known; legal with Adam, AdamW or SGD "
                "with momentum"
            )

    def moments(self) -> list[dict[str, Any] | None]:
        self.check_has_moments()
        return [
            self._moments_of(group, self.base.state.get(p, {}))
            for group in self.base.param_groups for p in group["params"] if p.requires_grad
        ]  # fmt: skip

    def _moments_of(self, group: dict[str, Any], state: dict[str, Any]) -> dict[str, Any] | None:
        lr = float(group["lr"])
        if isinstance(self.base, torch.optim.SGD):
            buffer = state.get("momentum_buffer")
            return None if buffer is None else {"exp_avg": local(buffer), "lr": lr}
        if "exp_avg" not in state:
            return None
        # Adam's own weight decay is part of the gradient, and so of the moments.
        decoupled = isinstance(self.base, torch.optim.AdamW) or group.get("decoupled_weight_decay", False)
        return {
            "exp_avg": local(state["exp_avg"]),
            "exp_avg_sq": local(state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]),
            "lr": lr,
            "betas": tuple(float(beta) for beta in group["betas"]),
            "eps": float(group["eps"]),
            "weight_decay": float(group["weight_decay"]) if decoupled else 0.0,
            "step": int(state["step"]),
        }

    def keep_state(self) -> Callable[[], None]:
        state = {parameter: _Kept(entries) for parameter, entries in self.base.state.items()}
        groups = [_Kept(group) for group in self.base.param_groups]

        def put_back() -> None:
            for parameter in [p for p in self.base.state if p not in state]:
                del self.base.state[parameter]
            for parameter, kept in state.items():
                kept.put_back(self.base.state[parameter])
            for group, kept in zip(self.base.param_groups, groups, strict=True):
                kept.put_back(group)

        return put_back


class _StatisticsCollection:
    """See StatisticsCollection in runtime/trained_model.h."""

    def __init__(self, norms: Iterable[Any]):
        self._norms = [(norm, norm.momentum) for norm in norms if norm.training]
        for norm, _ in self._norms:
            norm.reset_running_stats()
            norm.momentum = None

    def start(self) -> None:
        for norm, _ in self._norms:
            norm.train()

    def complete(self) -> bool:
        return all(int(norm.num_batches_tracked) > 0 for norm, _ in self._norms)

    def end(self) -> None:
        for norm, momentum in self._norms:
            norm.momentum = momentum


class ModelAccess:
    def __init__(self, model: nn.Module, trained: list[Tensor]):
        self.model = bare_model(model)
        self.reshard()  # else the root's parameters are not those that the optimizer has
        self._check_trained(trained)
        device = local(trained[0]).device if trained else torch.device("cpu")
        check_device(device)
        # The core copies dense tensors of one device; whatever else there is then, is copied here.
        self._buffers = [
            buffer
            for buffer in self.model.buffers()
            if buffer.is_contiguous() and buffer.device == device and not is_distributed(buffer)
        ]

    def _check_trained(self, trained: list[Tensor]) -> None:
        if any(type(module).__name__ == "FullyShardedDataParallel" for module in self.model.modules()):
            raise InvalidOption("model: FullyShardedDataParallel (FSDP1) is not supported; legal is FSDP2's fully_shard")
        own = {id(parameter) for parameter in self.model.parameters()}
        foreign = sum(id(parameter) not in own for parameter in trained)
        if foreign:
            raise InvalidOption(
                f"base optimizer: {foreign} of the {len(trained)} parameters that it trains are not parameters of the "
                "evaluator's model; legal is an optimizer over the model's own parameters, without master weights "
                "elsewhere"
            )

    def parameters(self) -> list[Tensor]:
        return list(self.model.parameters())

    def buffers(self) -> list[Tensor]:
        return self._buffers

    def reshard(self) -> None:
        """FSDP2's root keeps the whole weights that it gathered, and would answer for the old ones."""
        modules: Iterable[Any] = self.model.modules()
        for module in modules:
            if hasattr(module, "reshard") and hasattr(module, "unshard"):
                module.reshard()

    def enter(self, evaluation_mode: bool) -> Callable[[], None]:
        modes = [(module, module.training) for module in self.model.modules()]
        # A model may put another tensor in a buffer's place.
        places = [(module._buffers, dict(module._buffers)) for module in self.model.modules() if module._buffers]
        copied = {id(buffer) for buffer in self._buffers}
        # Storages, for a buffer may hold one element in several places.
        others: list[Any] = [
            local(buffer).untyped_storage() for buffer in self.model.buffers() if id(buffer) not in copied
        ]
        saved = [storage.clone() for storage in others]
        generators = _PythonGenerators()
        self.reshard()
        if evaluation_mode:
            self.model.eval()

        def leave() -> None:
            self.reshard()
            if len({training for _, training in modes}) == 1:
                self.model.train(modes[0][1])
            for module, training in modes:
                module.training = training
            for place, buffers in places:
                place.update(buffers)
            for storage, bytes_before in zip(others, saved, strict=True):
                storage.copy_(bytes_before)
            generators.restore()

        return leave

    def _batch_norms(self) -> list[Any]:
        kind = nn.modules.batchnorm._BatchNorm
        return [m for m in self.model.modules() if isinstance(m, kind) and m.running_mean is not None]

    def running_statistics(self) -> list[Tensor]:
        return [statistic for norm in self._batch_norms() for statistic in (norm.running_mean, norm.running_var)]

    def running_variances(self) -> list[Tensor]:
        return [norm.running_var for norm in self._batch_norms()]

    def has_shards(self) -> bool:
        """Whether a forward pass takes all ranks, for trained parameters or frozen ones."""
        return any(is_distributed(parameter) for parameter in self.model.parameters())

    def collect_statistics(self) -> _StatisticsCollection:
        return _StatisticsCollection(self._batch_norms())


class _PythonGenerators:
    """The state of Python's and NumPy's default generators; torch's are the core's."""

    def __init__(self) -> None:
        self._python = random.getstate()
        numpy = sys.modules.get("numpy")
        self._numpy = numpy.random.get_state() if numpy is not None else None

    def restore(self) -> None:
        random.setstate(self._python)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)


class EvaluatorAccess:
    def __init__(self, evaluator: Evaluator, ranks: Ranks, model: ModelAccess):
        self._evaluator = evaluator
        self._ranks = ranks
        # Asked once: whole as they are during a forward pass, shards are not known as such.
        self._together = model.has_shards() or evaluator.together

    def sequence_count(self) -> int:
        return len(self._evaluator)

    def step_cost(self) -> float:
        # Of this rank's part of a step.
        return float(self._evaluator.step_cost) / self._ranks.size

    def together(self) -> bool:
        return self._together

    def evaluate(self, sequences: list[int], activations: bool) -> tuple[Tensor, Tensor | None]:
        found = self._evaluator.evaluate(sequences, activations)
        losses, vectors = found if isinstance(found, tuple) else (found, None)
        if not isinstance(losses, Tensor):
            raise ContractError(f"the evaluator must return a tensor of losses, got {type(losses).__name__}")
        return losses, vectors
