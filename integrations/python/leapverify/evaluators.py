"""Held-out losses: what LeapVerify decides on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

#: A batch as a DataLoader gives it: tensors with the sequences along dimension 0, in tuples, lists and dictionaries.
Batch = Any


def bare_model(model: nn.Module) -> nn.Module:
    """The model without DDP's wrapper, whose forward would start collectives of its own, and without torch.compile's, which
    would compile once more for evaluation and sees no hooks."""
    while hasattr(model, "_orig_mod") or isinstance(model, nn.parallel.DistributedDataParallel):
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module  # type: ignore[assignment]
    return model


class Evaluator:
    """Runs a model, at the weights that it holds now, on held-out sequences. To be derived from: a class of one's own has
    the attributes `model` and `sequences_per_step`, and the methods __len__ and evaluate.

    The gate set must be carved from the training data, never be trained on, and never be the validation set whose loss
    is reported. evaluate() is called in evaluation mode and without gradients; modes, buffers and random generators
    (torch's, Python's, NumPy's) are put back afterwards, also when it raises, which ends the try and not the run. It must
    be deterministic and answer for the weights of now: before the first try LeapVerify changes all weights by a
    sixteenth and back, and leaps stay off where the losses do not follow exactly. Among several ranks each is asked for
    its share of the sequences, or for all of them where the model is sharded and a forward pass takes all ranks.
    """

    #: The model that the optimizer trains.
    model: nn.Module
    #: Sequences that one optimizer step trains on, over all micro-batches and ranks.
    sequences_per_step: int

    #: Whether evaluate() returns activations when asked.
    gives_activations: bool = True
    #: Whether all ranks must run the same sequences at the same time, for the model has collectives of its own, as in
    #: tensor parallelism by hand. FSDP2 and other DTensors are known.
    together: bool = False

    @property
    def step_cost(self) -> float:
        """Cost of one training step in forward passes of one gate sequence; a backward pass costs two."""
        return 3.0 * self.sequences_per_step

    def __len__(self) -> int:
        """Number of gate sequences, numbered from 0."""
        raise NotImplementedError

    def evaluate(self, sequences: Sequence[int], activations: bool) -> Tensor | tuple[Tensor, Tensor | None]:
        """Mean loss of each of the sequences, in that order: [sequences], in nats per token; and where `activations`
        is true, one activation vector a sequence: [sequences, hidden]."""
        raise NotImplementedError


class ModelAlone(Evaluator):
    """A model that is never asked for held-out losses."""

    gives_activations = False
    sequences_per_step = 1

    def __init__(self, model: nn.Module):
        self.model = model

    def __len__(self) -> int:
        return 0


class BatchEvaluator(Evaluator):
    """Runs a function on batches that are kept in memory.

    Args:
        model: what the optimizer trains; it is run without the wrappers of DDP and torch.compile.
        batches: any iterable of batches, such as a DataLoader. Read once, until `max_sequences` are there.
        losses: ``losses(model, batch) -> [n]``, the loss of each of the n sequences of a batch.
        sequences_per_step: sequences that one optimizer step trains on, over all micro-batches and ranks.
        max_sequences: sequences kept at most. 256 are enough for a first run; the more there are, the more tries can be
            made on sequences not seen before.
        probe: name of the module (as in ``model.named_modules()``) whose output at the last position is a sequence's
            activation vector; needed where activations tell the regime (``preset="paper"``).
        context: makes a context manager to run in, such as ``lambda: torch.autocast("cuda", torch.bfloat16)``.

    Raises:
        ValueError: no sequence, a batch without tensors or with tensors of different lengths, an unknown `probe`.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        losses: Callable[[nn.Module, Batch], Tensor],
        *,
        sequences_per_step: int,
        max_sequences: int = 256,
        probe: str | None = None,
        context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    ):
        if not isinstance(model, nn.Module):
            raise ValueError(f"model is a {type(model).__name__}; legal is a torch.nn.Module")
        if sequences_per_step < 1:
            raise ValueError(f"sequences_per_step = {sequences_per_step}; legal is an integer ≥ 1")
        if probe is not None and probe not in dict(bare_model(model).named_modules()):
            raise ValueError(f"probe = {probe!r}; legal is the name of a module of the model, as in named_modules()")
        self.model = model
        self.sequences_per_step = sequences_per_step
        self._losses = losses
        self._probe = probe
        self.gives_activations = probe is not None
        self._context = context
        self._batches: list[Batch] = []
        # Of each sequence: its batch, and its place in it.
        self._places: list[tuple[int, int]] = []
        generator = torch.get_rng_state()  # a DataLoader draws a seed
        try:
            for batch in batches:
                self._keep(batch, max_sequences)
                if len(self._places) >= max_sequences:
                    break
        finally:
            torch.set_rng_state(generator)
        if not self._places:
            raise ValueError("batches hold no sequence; legal is at least one")

    @classmethod
    def from_loader(
        cls,
        model: nn.Module,
        loss_fn: Callable[[Any, Any], Tensor],
        loader: Iterable[Batch],
        *,
        sequences_per_step: int,
        forward: Callable[[nn.Module, Batch], tuple[Any, Any]] | None = None,
        **options: Any,
    ) -> BatchEvaluator:
        """From a DataLoader of (inputs, targets) and the loss function of training.

        Args:
            loss_fn: ``loss_fn(outputs, targets) -> loss``, such as ``F.cross_entropy``; its mean over a batch will do,
                for it is asked for each sequence by itself.
            forward: ``forward(model, batch) -> (outputs, targets)`` where a batch is something else than (inputs,
                targets) or the model takes more than inputs.
            options: those of the constructor.
        """
        return cls(
            model, loader, SequenceLosses(loss_fn, forward or _forward), sequences_per_step=sequences_per_step, **options
        )

    def _keep(self, batch: Batch, most: int) -> None:
        if isinstance(batch, Mapping):
            batch = dict(batch)
        lengths = {leaf.shape[0] for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.dim() > 0}
        if len(lengths) != 1:
            raise ValueError(
                f"a batch has tensors of {sorted(lengths) or 'no'} sequences; legal are tensors with the same number "
                "of sequences along dimension 0"
            )
        count = lengths.pop()
        for place in range(min(count, most - len(self._places))):
            self._places.append((len(self._batches), place))
        self._batches.append(batch)

    def __len__(self) -> int:
        return len(self._places)

    def evaluate(self, sequences: Sequence[int], activations: bool) -> Tensor | tuple[Tensor, Tensor | None]:
        losses: list[Tensor] = []
        vectors: list[Tensor] = []
        device = next(self.model.parameters()).device
        for number, rows in self._by_batch(sequences):
            batch = _rows_of(self._batches[number], rows, device)
            with self._context(), _Probe(self.model, self._probe if activations else None) as probe:
                found = self._losses(bare_model(self.model), batch)
            if found.shape != (len(rows),):
                raise ValueError(
                    f"losses of shape {list(found.shape)} for a batch of {len(rows)} sequences; legal is one loss for each"
                )
            losses.append(found.detach().float())
            if probe.outputs:
                vectors.append(_last_position(torch.cat(probe.outputs), len(rows)))
        return torch.cat(losses), torch.cat(vectors) if vectors else None

    def _by_batch(self, sequences: Sequence[int]) -> Iterable[tuple[int, list[int]]]:
        """Runs of sequences that lie in one batch."""
        current, rows = -1, list[int]()
        for sequence in sequences:
            number, place = self._places[sequence]
            if number != current and rows:
                yield current, rows
                rows = []
            current = number
            rows.append(place)
        if rows:
            yield current, rows


class SequenceLosses:
    """The loss of each sequence by itself, from a loss function that may average over a batch."""

    def __init__(self, loss_fn: Callable[[Any, Any], Tensor], forward: Callable[[nn.Module, Batch], tuple[Any, Any]]):
        self._loss_fn = loss_fn
        self._forward = forward
        self._vectorises = True

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        outputs, targets = self._forward(model, batch)
        losses = self._each(outputs, targets)
        return losses.flatten(1).mean(1) if losses.dim() > 1 else losses

    def _each(self, outputs: Any, targets: Any) -> Tensor:
        if self._vectorises:
            try:
                return torch.func.vmap(self._loss_fn)(outputs, targets)
            except Exception:
                # Not every function can be; what is wrong otherwise is raised again below.
                self._vectorises = False
        count = next(leaf.shape[0] for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor))
        return torch.stack(
            [self._loss_fn(_rows_of(outputs, [row]), _rows_of(targets, [row])).mean() for row in range(count)]
        )


def _forward(model: nn.Module, batch: Batch) -> tuple[Any, Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise ValueError(f"a batch is a {type(batch).__name__}; legal is (inputs, targets), or give `forward`")
    return model(batch[0]), batch[1]


def _rows_of(batch: Batch, rows: list[int], device: torch.device | None = None) -> Batch:
    def pick(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if leaf.dim() > 0 and rows != list(range(leaf.shape[0])):
            leaf = leaf[torch.tensor(rows, device=leaf.device)]
        return leaf.to(device) if device is not None else leaf

    return tree_map(pick, batch)


def _last_position(output: Tensor, count: int) -> Tensor:
    if output.shape[0] != count or output.dim() < 2:
        raise ValueError(
            f"the probe's output has shape {list(output.shape)}; legal is [{count}, hidden] or [{count}, positions, hidden]"
        )
    return output.detach().float() if output.dim() == 2 else output[:, -1].detach().float().flatten(1)


class _Probe:
    """Takes the outputs of a module while the model runs, perhaps several times."""

    def __init__(self, model: nn.Module, name: str | None):
        self.outputs: list[Tensor] = []
        self._module = dict(bare_model(model).named_modules())[name] if name is not None else None

    def __enter__(self) -> _Probe:
        if self._module is not None:
            self._handle = self._module.register_forward_hook(self._take)
        return self

    def _take(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.outputs.append(output[0] if isinstance(output, tuple) else output)

    def __exit__(self, *_: object) -> None:
        if self._module is not None:
            self._handle.remove()
