"""What the methods are compared on: data, model, length, schedule and base optimizer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness import SCHEDULES
from harness.methods import Recipe


@dataclass(frozen=True)
class Arena:
    steps: int
    #: Of its grids: what people start with.
    lowest_rate: float
    #: The text that is trained on (harness.text), or "digits": small images.
    data: str = "python"
    #: Of the pre-training, on Python sources, of the model that it begins at; 0: it begins at fresh weights.
    base_steps: int = 0
    #: Adapters of rank 8 are trained in place of the weights.
    adapters: bool = False
    #: Sequences a step, in batches of the model's size.
    batches: int = 1
    recipe: Recipe = Recipe()
    #: False: in the any-rate bench the base optimizer is tuned there, and nothing else is run.
    has_methods: bool = True
    #: Of the any-rate bench's tuning, none of those that it compares at.
    tuning_seeds: tuple[int, ...] = (0,)


#: Of a base that has just learned, and of one whose weights have grown for long.
BASE_STEPS = 1200
LONG_BASE_STEPS = 12000

_PRETRAIN = Arena(400, 2.5e-4)
_LARGE_BATCH = Arena(100, 2.5e-4, batches=8)

#: Those that time to target is measured on.
TEXT_ARENAS = {
    "pretrain": _PRETRAIN,
    "finetune": Arena(200, 5e-5, "headers", base_steps=BASE_STEPS),
    "lora": Arena(200, 2e-4, "headers", base_steps=BASE_STEPS, adapters=True),
}

_COSINE = {
    **TEXT_ARENAS,
    "pretrain-large-batch": _LARGE_BATCH,
    "finetune-far": Arena(200, 5e-5, "headers", base_steps=LONG_BASE_STEPS),
    "finetune-near": Arena(200, 5e-5, "sympy", base_steps=LONG_BASE_STEPS),
    "digits": Arena(400, 2.5e-4, "digits", tuning_seeds=(0, 101, 102)),
    "pretrain-sgd": replace(_PRETRAIN, lowest_rate=2.5e-2, recipe=Recipe(optimizer="sgd")),
    "pretrain-muon": replace(_PRETRAIN, recipe=Recipe(optimizer="muon")),
}

ARENAS = {
    **_COSINE,
    **{f"{name}-{kind}": replace(arena, recipe=replace(arena.recipe, schedule=kind), has_methods=name == "pretrain")
       for name, arena in _COSINE.items() for kind in SCHEDULES[1:]},
}
