"""Real texts that every machine with PyTorch has: its Python sources and its C++ headers, and the sources of sympy, which
it depends on; or those of any folder."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

#: Package, and the files in it.
TEXTS = {"python": ("torch", "**/*.py"), "headers": ("torch", "include/**/*.h"), "sympy": ("sympy", "**/*.py")}
# Shares of the documents, by their hash: disjoint, whatever else is installed.
SPLITS = {"train": 0.9, "gate": 0.05, "validation": 0.05}
MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class Text:
    """Bytes of each split, on the device of training."""

    splits: dict[str, Tensor]
    #: 16 hexadecimal digits of the SHA-256 of all splits.
    fingerprint: str

    def batch(self, split: str, seed: int, step: int, sequences: int, length: int) -> Tensor:
        """[sequences, length] of dtype long: a function of its arguments alone."""
        data = self.splits[split]
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        starts = torch.randint(len(data) - length, (sequences,), generator=generator)
        return data[(starts[:, None] + torch.arange(length)).to(data.device)].long()


def _folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ValueError(f"{package} is not installed, whose sources are trained on")
    return Path(found.origin).parent


def _split_of(path: Path) -> str:
    place = int.from_bytes(hashlib.sha256(path.as_posix().encode()).digest()[:8], "big") / 2**64
    for split, share in SPLITS.items():
        place -= share
        if place < 0:
            return split
    return "train"


@functools.lru_cache
def read(kind: str, device: torch.device, folder: str | None = None) -> Text:
    """One of those texts, or all text below a folder in its place. Raises ValueError where a split is empty."""
    package, pattern = TEXTS[kind]
    root = _folder_of(package)
    if folder is not None:
        root, pattern = Path(folder), "**/*"
    parts: dict[str, list[bytes]] = {split: [] for split in SPLITS}
    left = MOST_BYTES
    for path in sorted(root.glob(pattern)):
        if not path.is_file() or path.stat().st_size > MOST_BYTES or b"\0" in (document := path.read_bytes()):
            continue
        if left < len(document):
            break
        left -= len(document)
        parts[_split_of(path.relative_to(root))].append(document)
    splits = {split: b"\n".join(documents) for split, documents in parts.items()}
    if empty := [split for split, text in splits.items() if len(text) < 4096]:
        raise ValueError(f"{root}/{pattern}: too little text for {', '.join(empty)}")
    found = hashlib.sha256(b"\0".join(splits.values())).hexdigest()[:16]
    splits["train and gate"] = splits["train"] + b"\n" + splits["gate"]
    return Text({split: torch.frombuffer(bytearray(text), dtype=torch.uint8).to(device)
                 for split, text in splits.items()}, found)
