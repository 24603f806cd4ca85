"""Options as the wrapper takes them and as its documentation lists them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from . import _core
from ._core import InvalidOption


def flattened(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"verification": {"rule": x}} as {"verification.rule": x}; refuses names that are no options."""
    known = [name for name, _, _, _ in _core.Options("verified", {}, 0).describe()]
    groups = {name.split(".")[0] for name in known if "." in name}
    flat: dict[str, Any] = {}
    for name, value in options.items():
        full = prefix + name
        if full in groups:
            if not isinstance(value, Mapping):
                inside = ", ".join(name.removeprefix(full + ".") for name in known if name.startswith(full + "."))
                raise InvalidOption(f"{full} = {value!r}; legal is a dictionary with any of {inside}")
            flat.update(flattened(value, full + "."))
        elif full in known:
            flat[full] = value
        else:
            near = difflib.get_close_matches(full, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "legal are " + ", ".join(known)
            raise InvalidOption(f"unknown option {full} = {value!r}; {hint}")
    return flat


def option_lines() -> str:
    lines = ["    Options (default): what is legal; what it means."]
    for name, default, legal, meaning in _core.Options("verified", {}, 0).describe():
        shown = f'"{default}"' if isinstance(default, str) else default
        lines.append(f"        {name} ({shown}): {legal + '; ' if legal else ''}{meaning}")
    return "\n".join(lines)
