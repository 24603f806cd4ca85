"""The wrapper around an optimizer."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch

from . import _core
from ._access import EvaluatorAccess, ModelAccess, OptimizerAccess, check_base
from ._core import ContractError, FormatError, InvalidOption
from ._live import Live, carried_over, sink
from ._options import flattened, option_lines
from ._ranks import Ranks
from .evaluators import Evaluator, ModelAlone
from .training import StepRunner, TrainingBatch

# Of what state_dict() holds under "leapverify".
_STATE_VERSION = 5


def asks_for_losses(preset: str = "verified", **options: Any) -> bool:
    """Whether LeapVerify with these arguments of its constructor needs an evaluator."""
    for own in ("planned_steps", "trace", "runner", "process_group"):
        options.pop(own, None)
    return _core.Options(preset, flattened(options), 0).asks_for_losses


class LeapVerify(torch.optim.Optimizer):
    """Use it in place of the base optimizer; learning-rate schedulers may be on either.

    A rejected leap leaves weights, buffers, optimizer state, gradients and random generators bitwise what they were;
    with ``enabled=False``, or with every leap rejected (preset "verified", and ``rate`` as by default), training is bitwise that
    of the base optimizer. Parameters keep their storage. Call step() once an optimizer step, as with the base optimizer, whatever
    the number of micro-batches. A step in which nothing moves (every learning rate 0, or no parameter with a gradient) is not counted. Attributes
    that it lacks are the base optimizer's.

    Args:
        base_optimizer: any torch.optim.Optimizer that takes one step a call; not LBFGS, and none that keeps master
            weights elsewhere (DeepSpeed, Megatron).
        evaluator: gives held-out losses; BatchEvaluator makes one of a DataLoader. With preset="free", which asks for none,
            the model does in its place. None only with enabled=False.
        planned_steps: optimizer steps of the whole run, 0 when not known: the cap on the overhead is a share of them.
        preset: "verified", where nothing changes that has not verified; "auto", which needs no learning rate and no schedule, but
            planned_steps, goes on more slowly, or back, where held-out loss does not show that the run got better, and ends at the
            average that at_average() lends before; "free", the same without held-out loss; or "paper" for the method as published (arXiv 2602.19580).
        trace: a file for the trace (JSON lines, docs/trace.md), in place of an older one unless a state that was saved
            beside it is loaded; or a function that takes each event as a dictionary.
        runner: a StepRunner, for the options that need one.
        process_group: the ranks that decide together; "auto": all of torch.distributed where it is initialised.
        options: those below. ``verification={"rule": "strict"}`` and ``**{"verification.rule": "strict"}`` are the same.

    Raises:
        InvalidOption: (a ValueError) an option, base optimizer or gate set that cannot work, with what is legal.
        ContractError: parameters on several devices or with gaps in memory.

    Memory beyond training: memory_bytes(); some 4 bytes a parameter for each of the average, the weights of a step and
    each snapshot; with preset "free" 8 bytes a parameter in float32 (12 in its first steps), with "auto" 12 and 4 more
    during a look, and some MiB.
    """

    def __init__(
        self,
        base_optimizer: torch.optim.Optimizer,
        evaluator: Evaluator | torch.nn.Module | None = None,
        *,
        planned_steps: int = 0,
        preset: str = "verified",
        trace: str | os.PathLike[str] | Callable[[dict[str, Any]], None] | None = None,
        runner: StepRunner | None = None,
        process_group: Any = "auto",
        **options: Any,
    ):
        self._make_hooks()
        if not isinstance(base_optimizer, torch.optim.Optimizer):
            raise InvalidOption(
                f"base optimizer = {type(base_optimizer).__name__}; legal is a torch.optim.Optimizer"
            )
        self.base_optimizer = base_optimizer
        if isinstance(evaluator, torch.nn.Module) and not isinstance(evaluator, Evaluator):
            evaluator = ModelAlone(evaluator)
        self.evaluator = evaluator
        if trace is not None and not isinstance(trace, (str, os.PathLike)) and not callable(trace):
            raise InvalidOption(f"trace = {trace!r}; legal is a path or a function that takes a dictionary")
        self._preset = preset
        self._trace = os.fspath(trace) if isinstance(trace, os.PathLike) else trace
        self._runner = runner
        self._process_group = process_group
        self._values = flattened(options)
        self._open(planned_steps)

    # --- The core

    def _open(self, planned_steps: int) -> None:
        self._live = Live(self._checked(planned_steps), planned_steps)
        check_base(self.base_optimizer)
        if not self._options.enabled:
            return
        if not isinstance(self.evaluator, Evaluator):
            given = "None" if self.evaluator is None else f"a {type(self.evaluator).__name__}"
            raise InvalidOption(
                f"evaluator is {given}; legal is a leapverify.Evaluator, such as leapverify.BatchEvaluator"
                + ("" if self._options.asks_for_losses else ", or the model alone")
            )
        if isinstance(self.evaluator, ModelAlone) and self._options.asks_for_losses:
            raise InvalidOption(
                "evaluator is a model alone, which is legal with preset=\"free\" and without probes; else a leapverify.Evaluator, "
                "such as leapverify.BatchEvaluator"
            )
        if not isinstance(getattr(self.evaluator, "model", None), torch.nn.Module):
            raise InvalidOption("evaluator: its attribute `model` is no torch.nn.Module; legal is the model that is trained")
        if isinstance(self._trace, str):
            open(self._trace, "ab").close()  # says now whether it can be written
        if not any(parameter.is_meta for group in self.param_groups for parameter in group["params"]):
            self._live.engine = self._new_engine()

    def _checked(self, planned_steps: int) -> _core.Options:
        if planned_steps != int(planned_steps):
            raise InvalidOption(f"planned_steps = {planned_steps!r}; legal is an integer ≥ 0")
        options = _core.Options(self._preset, self._values, int(planned_steps))
        if options.no_try_reason:
            warnings.warn(f"LeapVerify: nothing will be tried, for {options.no_try_reason}")
        return options

    @property
    def _options(self) -> _core.Options:
        return self._live.options

    def _new_engine(self) -> _core.Engine:
        assert self.evaluator is not None
        live = self._live
        live.ranks = Ranks(self._process_group)
        optimizer = OptimizerAccess(self.base_optimizer)
        if self._options.touches_moments:
            optimizer.check_moments_known()
        if self._options.tells_by_activations and not self.evaluator.gives_activations:
            raise InvalidOption(
                "evaluator: it gives no activations, by which detector.signal = activation_cosine tells the regime; legal is "
                "BatchEvaluator(probe=NAME_OF_A_MODULE), or detector.signal = delta_cosine"
            )
        live.sharded = optimizer.sharded()
        live.model = ModelAccess(self.evaluator.model, optimizer.trained())
        engine = _core.Engine(
            optimizer,
            live.model,
            EvaluatorAccess(self.evaluator, live.ranks, live.model),
            live.options,
            sink(live, self._trace),
            self._runner,
            live.ranks,
        )
        self._warn_of_cost(engine)
        return engine

    def _warn_of_cost(self, engine: _core.Engine) -> None:
        if self.planned_steps == 0 or self._options.no_try_reason:
            return
        assert self.evaluator is not None and self._live.ranks is not None
        least, allowed = engine.try_cost(self.evaluator.sequences_per_step // self._live.ranks.size)
        if least > allowed and self._options.is_free:
            warnings.warn(
                f"LeapVerify: held-out loss is never looked at, so that the run cannot go back: one look takes {least} forward "
                f"passes of a sequence and max_overhead allows {int(allowed)} in the {self.planned_steps} planned steps; raise it"
            )
        elif least > allowed:
            warnings.warn(
                f"LeapVerify: nothing will be tried, for a try takes at least {least} forward passes of a sequence and "
                f"max_overhead allows {int(allowed)} in the {self.planned_steps} planned steps"
            )

    def _fitting_engine(self) -> _core.Engine:
        """The core for the parameters as they are now: made anew, with what it knows, after add_param_group(), a
        parameter frozen or thawed, or a move to another device."""
        live = self._live
        if live.engine is None:
            live.engine = self._new_engine()
        elif not live.engine.fits():
            self._renew(live.engine)
        return live.engine

    def _renew(self, old: _core.Engine) -> None:
        engine = self._new_engine()
        engine.restore(*carried_over(old, engine))
        self._live.engine = engine

    @property
    def planned_steps(self) -> int:
        """Optimizer steps of the whole run, 0 when not known. May be set where they become known later."""
        return self._live.planned_steps

    @planned_steps.setter
    def planned_steps(self, steps: int) -> None:
        self._live.options = self._checked(steps)
        self._live.planned_steps = steps
        if self._live.engine is not None:
            self._renew(self._live.engine)

    # --- Steps

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the base optimizer, then an observation and perhaps a leap when they are due.

        Args:
            closure: evaluates the model and returns the loss, as for the base optimizer. A TrainingBatch lets
                ``gate="next_batch"`` compare on the batch first.

        Returns:
            What the base optimizer returns.
        """
        enabled = self._options.enabled
        stands_still = enabled and self._stands_still()
        if stands_still and self._live.engine is not None:
            self._live.engine.stand_still()
        if stands_still or not enabled:
            return self.base_optimizer.step() if closure is None else self.base_optimizer.step(closure)
        engine = self._fitting_engine()
        if closure is None and not engine.has_gradients():
            engine.stand_still()
            return self.base_optimizer.step()
        if isinstance(closure, TrainingBatch):
            return engine.step_on(closure.sequences, closure.losses, closure, closure.seen)
        return engine.step(closure)

    def _stands_still(self) -> bool:
        """Whether every learning rate is 0, as when torch.distributed.checkpoint has state made, or before a warm-up."""
        return all(float(group["lr"]) == 0 for group in self.param_groups)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.base_optimizer.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.base_optimizer.add_param_group(param_group)

    # --- Where the run stands

    def status(self) -> dict[str, Any]:
        """step, regime, tries, candidates, accepted, false_accepts (expected), forwards (of one sequence), steps_saved,
        overhead (share of all cost so far), learning_rate_scale, free_rate (of presets "auto" and "free" the largest learning
        rate in force, else None), of preset "auto" looks, went_back (after so many of them) and best_step (of the best average
        so far), and off_reason where leaps or looks are off for good."""
        return self._fitting_engine().status() if self._options.enabled else {}

    def memory_bytes(self) -> int:
        """Memory taken beyond training itself, on the parameters' device."""
        return self._fitting_engine().memory_bytes() if self._options.enabled else 0

    def has_average(self) -> bool:
        """Whether an average of the recent weights is kept, or with ``rate.free`` of all iterates: with
        ``reference="denoised"``, after the first step."""
        return self._options.enabled and self._fitting_engine().has_average()

    def at_result(self, function: Callable[[], Any]) -> Any:
        """Runs ``function()`` with the weights that the run is for: with the presets "auto" and "free" as at_average(), else
        as they are."""
        if self._options.ends_at_average and self.has_average():
            return self.at_average(function)
        return function()

    def at_average(self, function: Callable[[], Any]) -> Any:
        """Runs ``function()`` with that average in the weights' place, and puts back every byte of the weights, also when
        it raises. With ``rate.free`` that takes a copy of the weights for the time. While the learning rate is high the average's loss is lower than that of the weights."""
        if not self._options.enabled:
            raise ContractError("no average of the weights is kept: enabled is False")
        engine, model = self._fitting_engine(), self._live.model
        assert model is not None

        def run() -> Any:
            model.reshard()
            try:
                return function()
            finally:
                model.reshard()

        return engine.at_average(run)

    def flush_trace(self) -> None:
        """Waits until the disk holds the trace so far."""
        if self._live.trace_file is not None:
            self._live.trace_file.sync()

    # --- What is the base optimizer's

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.base_optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.base_optimizer.param_groups = groups

    @property
    def state(self) -> Any:
        return self.base_optimizer.state

    @state.setter
    def state(self, state: Any) -> None:
        self.base_optimizer.state = state

    @property
    def defaults(self) -> dict[str, Any]:
        return self.base_optimizer.defaults

    @defaults.setter
    def defaults(self, defaults: dict[str, Any]) -> None:
        self.base_optimizer.defaults = defaults

    def __getattr__(self, name: str) -> Any:
        # GradScaler would hang its scale on the wrapper and step on overflow; without this it unscales by itself.
        hidden = name == "_step_supports_amp_scaling" or name.startswith("__")
        if hidden or "base_optimizer" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.base_optimizer, name)

    def __repr__(self) -> str:
        return f"LeapVerify ({self.base_optimizer!r})"

    # --- State

    def state_dict(self) -> dict[str, Any]:
        """The base optimizer's, and under "leapverify" what LeapVerify knows: tensors, numbers and texts, as
        ``torch.load(weights_only=True)`` takes them; indexed by the position of parameters."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        out = self.base_optimizer.state_dict()
        if self._options.enabled:
            out["leapverify"] = self.leap_state()
        for post_hook in self._optimizer_state_dict_post_hooks.values():
            changed = post_hook(self, out)
            out = changed if changed is not None else out
        return out

    def leap_state(self) -> dict[str, Any]:
        """What state_dict() holds under "leapverify", for checkpoints that keep the base optimizer's part by other means,
        as torch.distributed.checkpoint's get_optimizer_state_dict() does."""
        text, tensors = self._fitting_engine().state()
        self.flush_trace()
        live = self._live
        written = live.trace_file.bytes if live.trace_file is not None else live.trace_bytes
        prefix = self._prefix()
        named = {prefix + name: tensor for name, tensor in tensors}
        return {"version": _STATE_VERSION, "core": text, "tensors": named, "trace_bytes": written}

    def _prefix(self) -> str:
        """Each rank's shards have names of their own, so that a checkpoint of all ranks keeps them all."""
        live = self._live
        return f"rank{live.ranks.rank}." if live.sharded and live.ranks is not None else ""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes back what state_dict() gave, or a state of the base optimizer alone, after which LeapVerify begins anew.

        Raises:
            FormatError: (a ValueError) it does not fit; nothing is changed then.
        """
        given = dict(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, given)
            given = dict(changed) if changed is not None else given
        if "state" not in given or "param_groups" not in given:
            raise FormatError(f"optimizer state: holds {sorted(map(str, given))}; legal is a dictionary with state and param_groups")
        leap_state = given.pop("leapverify", None)
        engine = self._restored(leap_state) if self._options.enabled else None
        self.base_optimizer.load_state_dict(given)
        if engine is not None:
            self._take(engine, leap_state)
        for post_hook in self._optimizer_load_state_dict_post_hooks.values():
            post_hook(self)

    def load_leap_state(self, leap_state: Mapping[str, Any]) -> None:
        """Takes back what leap_state() gave. Raises FormatError where it does not fit; nothing is changed then."""
        if self._options.enabled:
            self._take(self._restored(leap_state), leap_state)

    def _restored(self, leap_state: Mapping[str, Any] | None) -> _core.Engine:
        engine = self._new_engine()
        if leap_state is None:
            return engine
        version = leap_state.get("version")
        if version != _STATE_VERSION:
            raise FormatError(f"LeapVerify state: version {version!r}; this leapverify reads version {_STATE_VERSION}")
        try:
            core, tensors = leap_state["core"], leap_state["tensors"]
            prefix = self._prefix()
            engine.restore(core, [(str(name).removeprefix(prefix), tensor) for name, tensor in tensors.items()])
        except (KeyError, AttributeError, TypeError) as error:
            raise FormatError(f"LeapVerify state: damaged: {error}") from error
        return engine

    def _take(self, engine: _core.Engine, leap_state: Mapping[str, Any] | None) -> None:
        self._live.engine = engine
        if leap_state is not None:
            self._live.trace_bytes = int(leap_state.get("trace_bytes", 0))
            self._live.trace_file = None
            # A checkpoint may hold the weights that the run is for; those of training are made of what is kept beside.
            self.at_result(lambda: None)

    def __getstate__(self) -> dict[str, Any]:
        """For pickling and deepcopy: all but hooks and a trace file, which only one can write. A process group of one's
        own can be neither."""
        kept = ("base_optimizer", "evaluator", "_preset", "_runner", "_values", "_process_group")
        return {
            **{name: self.__dict__[name] for name in kept},
            "_trace": None if isinstance(self._trace, str) else self._trace,
            "planned_steps": self.planned_steps,
            "leap_state": self.leap_state() if self._options.enabled else None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        leap_state, planned_steps = state.pop("leap_state"), state.pop("planned_steps")
        self.__dict__.update(state)
        self._make_hooks()
        self._open(planned_steps)
        if leap_state is not None:
            self._take(self._restored(leap_state), leap_state)

    def _make_hooks(self) -> None:
        """What torch.optim.Optimizer.__init__ makes besides groups and state, which are the base optimizer's."""
        for name in ("step_pre", "step_post", "state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post"):
            setattr(self, f"_optimizer_{name}_hooks", OrderedDict())
        self._patch_step_function()  # type: ignore[no-untyped-call, unused-ignore]


if LeapVerify.__doc__ is not None:
    LeapVerify.__doc__ = LeapVerify.__doc__.rstrip() + "\n\n" + option_lines() + "\n"
