"""Files of one JSON object a line, read with errors that name the line and what is wrong there."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leapverify._core import FileError

#: Numbers that JSON has no form for: as text in a trace, as null in metrics.
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, None: math.nan}


@dataclass(frozen=True)
class Fields:
    """A JSON object and where it stands."""

    where: str
    values: Mapping[str, object]

    def error(self, words: str) -> FileError:
        return FileError(f"{self.where}: {words}")

    def has(self, key: str) -> bool:
        return key in self.values

    def number(self, key: str) -> float:
        value = self._value(key)
        if (value is None or isinstance(value, str)) and value in _NOT_FINITE:
            return _NOT_FINITE[value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        raise self._not(key, "a number")

    def optional_number(self, key: str) -> float | None:
        return self.number(key) if self.has(key) else None

    def count(self, key: str) -> int:
        number = self.number(key)
        if not number.is_integer():
            raise self._not(key, "an integer")
        return int(number)

    def text(self, key: str) -> str:
        value = self._value(key)
        if not isinstance(value, str):
            raise self._not(key, "text")
        return value

    def choice(self, key: str, legal: Sequence[str]) -> str:
        value = self.text(key)
        if value not in legal:
            raise self._not(key, "one of " + ", ".join(legal))
        return value

    def flag(self, key: str) -> bool:
        value = self._value(key)
        if not isinstance(value, bool):
            raise self._not(key, "true or false")
        return value

    def items(self, key: str) -> Sequence[object]:
        value = self._value(key)
        if not isinstance(value, list):
            raise self._not(key, "a list")
        return value

    def group(self, key: str) -> Fields:
        value = self._value(key)
        if not isinstance(value, dict):
            raise self._not(key, "an object")
        return Fields(self.where, value)

    def _value(self, key: str) -> object:
        if key not in self.values:
            raise self.error(f'"{key}" is missing')
        return self.values[key]

    def _not(self, key: str, legal: str) -> FileError:
        return self.error(f'"{key}" is {json.dumps(self.values[key])}, not {legal}')


def read_lines(path: Path) -> list[Fields]:
    """The object of each line. A last line that was cut while it was written is left out. Raises
    FileError."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise FileError(f"{path}: cannot read: {error.strerror}") from None
    objects = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            value = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise FileError(f"{where}: not JSON: {error}") from None
        if not isinstance(value, dict):
            raise FileError(f"{where}: not a JSON object")
        objects.append(Fields(where, value))
    return objects
