"""Hugging Face: an evaluator over a dataset, and a Trainer whose optimizer is wrapped.

    trainer = LeapVerifyTrainer(model=model, args=args, train_dataset=train, eval_dataset=eval, gate_dataset=gate)

Other trainers, such as trl's, take the mixin: ``class MyTrainer(LeapVerifyMixin, SFTTrainer): ...``.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ._core import InvalidOption
from .evaluators import Batch, BatchEvaluator, _rows_of, bare_model
from .optimizer import LeapVerify, asks_for_losses

_IGNORED = -100


class HuggingFaceEvaluator(BatchEvaluator):
    """Losses of a model of transformers (or PEFT) on a dataset with labels.

    Args:
        model: returns ``logits``, and ``loss`` where labels are given.
        dataset: gate sequences, tokenised; carved from the training data and not trained on.
        sequences_per_step: sequences that one optimizer step trains on, over all micro-batches and ranks.
        collator: as the Trainer's data_collator; must be deterministic, so not one that masks tokens at random.
        batch_size: sequences a forward pass.
        options: those of BatchEvaluator.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Any,
        *,
        sequences_per_step: int,
        collator: Callable[[list[Any]], Batch] = transformers.default_data_collator,
        batch_size: int = 8,
        **options: Any,
    ):
        loader: Iterable[Batch] = DataLoader(dataset, batch_size, shuffle=False, collate_fn=collator)
        super().__init__(model, loader, sequence_losses, sequences_per_step=sequences_per_step, **options)


def sequence_losses(model: nn.Module, batch: Batch) -> Tensor:
    """The loss of each sequence, [n], in nats per token: of a causal language model, or of whatever the model computes
    its loss of, then with one forward pass a sequence. Positions labelled -100 do not count."""
    labels = batch["labels"]
    if not _is_causal(model):
        rows = [_rows_of(batch, [row]) for row in range(labels.shape[0])]
        return torch.stack([model(**row).loss.float() for row in rows])
    logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    logits, labels = logits[:, :-1], labels[:, 1:]
    losses = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none", ignore_index=_IGNORED)
    counted = (labels != _IGNORED).sum(1)
    mean: Tensor = losses.view(labels.shape).sum(1) / counted.clamp_min(1)
    return mean


def _is_causal(model: nn.Module) -> bool:
    model = bare_model(model)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    # GPT-2's name tells transformers no type of loss.
    return getattr(inner, "loss_type", None) == "ForCausalLM" or isinstance(inner, transformers.GPT2LMHeadModel)


def _wrapper(optimizer: Any) -> LeapVerify | None:
    """LeapVerify in a trainer's optimizer, which is Accelerate's wrapper around it once a run has begun."""
    inner = getattr(optimizer, "optimizer", optimizer)
    return inner if isinstance(inner, LeapVerify) else None


class LeapVerifyMixin:
    """A transformers.Trainer that wraps the optimizer which it makes. With ``preset="auto"`` and ``"free"`` it evaluates and
    saves the average that its runs end at.

    Args:
        leapverify: options of LeapVerify; {} takes the defaults, None leaves the optimizer bare.
        gate_dataset: held-out sequences for decisions, carved from the training data. Without it the evaluation data
            serve, whose loss then is no fair measure of the run any more; ``preset="free"`` needs neither.
        gate_sequences: kept of it at most.
        gate_probe: the module whose output tells the regime, as BatchEvaluator's `probe`; for ``preset="paper"``.
    """

    optimizer: Any

    def __init__(
        self,
        *args: Any,
        leapverify: Mapping[str, Any] | None = {},  # noqa: B006: never changed
        gate_dataset: Any = None,
        gate_sequences: int = 256,
        gate_probe: str | None = None,
        **kwargs: Any,
    ):
        self._leapverify = leapverify
        self._gate_dataset = gate_dataset
        self._gate_sequences = gate_sequences
        self._gate_probe = gate_probe
        self._trains = False
        super().__init__(*args, **kwargs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        base: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)  # type: ignore[misc]
        if self._leapverify is None or _wrapper(base) is not None:  # of an earlier train()
            return base
        if getattr(self, "is_deepspeed_enabled", False):
            raise InvalidOption("DeepSpeed keeps master weights of its own; legal are DDP and FSDP2 (fsdp_version: 2)")
        options = dict(self._leapverify)
        if "trace" not in options:
            os.makedirs(self.args.output_dir, exist_ok=True)  # type: ignore[attr-defined]
            options["trace"] = os.path.join(self.args.output_dir, "trace.jsonl")  # type: ignore[attr-defined]
        model = kwargs.get("model", args[0] if args else None)
        wrapped = LeapVerify(base, self._gate_evaluator(model, options), **options)
        self.optimizer = wrapped
        return wrapped

    def create_scheduler(self, num_training_steps: int, *args: Any, **kwargs: Any) -> Any:
        optimizer = _wrapper(self.optimizer)
        if optimizer is not None and optimizer.planned_steps == 0:
            optimizer.planned_steps = num_training_steps
        return super().create_scheduler(num_training_steps, *args, **kwargs)  # type: ignore[misc]

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        return self._at_result(super().evaluation_loop, *args, **kwargs)  # type: ignore[misc]

    def save_model(self, *args: Any, **kwargs: Any) -> Any:
        return self._at_result(super().save_model, *args, **kwargs)  # type: ignore[misc]

    def train(self, *args: Any, **kwargs: Any) -> Any:
        self._trains = True
        try:
            output = super().train(*args, **kwargs)  # type: ignore[misc]
            self._land()
        finally:
            self._trains = False
        return output

    def _load_best_model(self, *args: Any, **kwargs: Any) -> Any:
        # From here on the weights are those of a checkpoint.
        self._trains = False
        return super()._load_best_model(*args, **kwargs)  # type: ignore[misc]

    def _land(self) -> None:
        """Leaves the weights that the run is for, where it was stopped before its last step."""
        optimizer = _wrapper(self.optimizer)
        if optimizer is None or not self._trains:
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        found = optimizer.at_result(lambda: [parameter.detach().clone() for parameter in parameters])
        with torch.no_grad():
            for parameter, value in zip(parameters, found):
                parameter.copy_(value)

    def _at_result(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        optimizer = _wrapper(self.optimizer)
        if optimizer is None or not self._trains:
            return function(*args, **kwargs)
        return optimizer.at_result(lambda: function(*args, **kwargs))

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        optimizer = _wrapper(self.optimizer)
        if optimizer is not None and "learning_rate" in logs:
            status = optimizer.status()
            logs = {**logs, "learning_rate_scale": status["learning_rate_scale"], "leap_overhead": status["overhead"]}
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    def _gate_evaluator(self, model: nn.Module | None, options: Mapping[str, Any]) -> HuggingFaceEvaluator | nn.Module:
        dataset = self._gate_dataset
        if dataset is None and not asks_for_losses(**options):
            return self.model if model is None else model  # type: ignore[attr-defined]
        if dataset is None:
            dataset = self.eval_dataset  # type: ignore[attr-defined]
            warnings.warn("no gate_dataset: the evaluation data decide, and their loss is no fair measure of this run")
            if isinstance(dataset, Mapping):
                dataset = next(iter(dataset.values()), None)
        if dataset is None:
            raise InvalidOption("gate_dataset = None; legal is a dataset of held-out sequences, or give an eval_dataset")
        args = self.args  # type: ignore[attr-defined]
        return HuggingFaceEvaluator(
            self.model if model is None else model,  # type: ignore[attr-defined]
            dataset,
            sequences_per_step=args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
            collator=self._get_collator_with_removed_columns(self.data_collator, "gate"),  # type: ignore[attr-defined]
            batch_size=args.eval_batch_size,
            max_sequences=self._gate_sequences,
            probe=self._gate_probe,
            context=self._autocast,
        )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return self.autocast_smart_context_manager()  # type: ignore[attr-defined, no-any-return]


class LeapVerifyTrainer(LeapVerifyMixin, transformers.Trainer):
    """transformers.Trainer with the arguments of LeapVerifyMixin."""
