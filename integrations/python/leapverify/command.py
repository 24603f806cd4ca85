"""What the commands of this package have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from leapverify._core import FileError


def run(name: str, package: str, write: Callable[[], Path]) -> int:
    """Prints the path that `write` wrote; where it could not, one line on stderr. `package` is what pip must install
    where it is missing. Returns the exit status."""
    try:
        print(write())
    except FileError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"{name}: Python package {error.name} is missing: pip install {package}", file=sys.stderr)
        return 2
    return 0
