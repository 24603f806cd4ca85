"""Data and model of an arena, as a training loop sees them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from harness import text
from harness.arenas import Arena
from harness.model import LINEAR, Gpt, Size, sequence_losses
from torch import Tensor, nn

GATE_SEQUENCES = 512
VALIDATION_SEQUENCES = 128
#: Sequences of a forward pass without gradients.
AT_ONCE = 64


def base_name(fingerprint: str, steps: int) -> str:
    """The file of the model that was pre-trained on a text for so many steps, or in a smoke run for fewer."""
    return f"base-{fingerprint}-{steps}.pt"


class TextTask:
    """Sequences of a text, and a byte-level GPT."""

    losses = staticmethod(sequence_losses)

    def __init__(self, arena: Arena, size: Size, device: torch.device, folder: Path, texts: dict[str, str]):
        self.arena, self.size, self.device, self.folder = arena, size, device, folder
        self.text = text.read(arena.data, device, texts.get(arena.data))
        self.fingerprints = fingerprints_of(arena, texts)

    @property
    def batch_size(self) -> int:
        return self.size.batch * self.arena.batches

    def model(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = Gpt(self.size).to(self.device)
        if self.arena.base_steps > 0:
            base = self.folder / base_name(self.fingerprints["base_text"], self.arena.base_steps)
            model.load_state_dict(torch.load(base, map_location=self.device))
        if self.arena.adapters:
            import peft

            model = peft.inject_adapter_in_model(peft.LoraConfig(r=8, lora_alpha=16, target_modules=LINEAR), model)
        return model

    def batch(self, split: str, seed: int, step: int) -> Tensor:
        return self._sequences(split, seed, step, self.batch_size)

    def gate(self) -> list[Any]:
        return list(self._sequences("gate", 0, 0, GATE_SEQUENCES).split(AT_ONCE))

    def validation(self) -> list[Any]:
        return list(self._sequences("validation", 0, 0, VALIDATION_SEQUENCES).split(AT_ONCE))

    def _sequences(self, split: str, seed: int, step: int, count: int) -> Tensor:
        return self.text.batch(split, seed, step, count, self.size.context + 1)


class DigitsTask:
    """Scikit-learn's 1797 handwritten digits of 8 × 8 pixels, and a small convolutional network."""

    batch_size = 32
    #: Images; of gate ones LeapVerify wants 144 at least.
    COUNTS = {"train": 1257, "gate": 180, "validation": 360}

    def __init__(self, arena: Arena, device: torch.device):
        self.device = device
        self.fingerprints = fingerprints_of(arena, {})
        images, labels = _digits()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        self.splits: dict[str, tuple[Tensor, Tensor]] = {}
        first = 0
        for split, count in self.COUNTS.items():
            chosen = order[first:first + count]
            self.splits[split] = images[chosen].to(device), labels[chosen].to(device)
            first += len(chosen)
        self.splits["train and gate"] = tuple(map(torch.cat, zip(self.splits["train"], self.splits["gate"], strict=True)))

    def model(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10)).to(self.device)

    @staticmethod
    def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Of each image, in nats."""
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none")

    def batch(self, split: str, seed: int, step: int) -> tuple[Tensor, Tensor]:
        images, labels = self.splits[split]
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(len(labels), (self.batch_size,), generator=generator).to(self.device)
        return images[chosen], labels[chosen]

    def gate(self) -> list[Any]:
        return self._parts("gate")

    def validation(self) -> list[Any]:
        return self._parts("validation")

    def _parts(self, split: str) -> list[Any]:
        images, labels = self.splits[split]
        return list(zip(images.split(AT_ONCE), labels.split(AT_ONCE), strict=True))


@functools.lru_cache
def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.images, dtype=torch.float32)[:, None] / 16, torch.tensor(found.target)


Task = TextTask | DigitsTask


def fingerprints_of(arena: Arena, texts: dict[str, str]) -> dict[str, str]:
    """Of what is trained on, and was before, as a line of a log has them. Raises ValueError where there is too little."""
    def found(data: str) -> str:
        return text.read(data, torch.device("cpu"), texts.get(data)).fingerprint

    if arena.data == "digits":
        return {"text": f"scikit-learn's digits, {DigitsTask.COUNTS['train']} to train on"}
    return {"text": found(arena.data), **({"base_text": found("python")} if arena.base_steps > 0 else {})}


def task_of(arena: Arena, size: Size, device: torch.device, folder: Path, texts: dict[str, str]) -> Task:
    """texts: folders in place of those of harness.text, by the name that an arena has for its data."""
    return DigitsTask(arena, device) if arena.data == "digits" else TextTask(arena, size, device, folder, texts)
