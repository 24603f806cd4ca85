"""Reads a folder of bench/results: raw logs, the commands that made them, and the machine they were made on."""

import json
import pathlib
import re
import sys


class Unusable(Exception):
    """Why a folder cannot be used, in one line."""


def status_of(action):
    """Of a program that does `action`: what it returns, 0 for nothing; 2, and one line, where something is unusable."""
    try:
        return action() or 0
    except Unusable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


class ResultsFolder:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            raise Unusable(f"{self.path} is no folder")
        file = self.path / "environment.txt"
        self.environment = file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def log(self, name):
        """The raw log of that name; scripts/gpu.sh ends them on .log. None where there is none."""
        for file in (self.path / f"{name}.jsonl", self.path / f"{name}.log"):
            if file.exists():
                return file
        return None

    def lines(self, name):
        """The objects of a raw log; a last line that was cut off with its run is left out."""
        file = self.log(name)
        if file is None:
            return []
        text = file.read_text(encoding="utf-8")
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                if line.startswith("{"):
                    found.append(json.loads(line))
            except json.JSONDecodeError as error:
                if number == text.count("\n") + 1:
                    break
                raise Unusable(f"{file}, line {number}: no JSON object ({error.msg})") from None
        return found

    def document(self, name):
        """What a .json of that name holds; None where there is none."""
        file = self.path / f"{name}.json"
        if not file.exists():
            return None
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise Unusable(f"{file}: no JSON ({error.msg})") from None

    def command(self, name):
        """What made a raw log: its own first line, else those of environment.txt; "" where neither says it."""
        for file in (self.log(name), self.path / f"{name.replace('_', '-')}.log"):
            if file is not None and file.exists():
                with file.open(encoding="utf-8") as opened:
                    first = opened.readline()
                if first.startswith("# "):
                    return first[2:].strip()
        commands = [line[len("command "):] for line in self.environment if line.startswith("command ")]
        return "; ".join(command for command in commands if len(commands) == 1 or name in command)

    def machine(self):
        """(processors, GPUs) as environment.txt names them; a driver or a kernel of the system is no part of it."""
        if not self.environment:
            raise Unusable(f"{self.path} is no results folder: no environment.txt")
        places = [index for index, line in enumerate(self.environment) if re.match(r"\s*\d+ cpu ", line)]
        if not places:
            raise Unusable(f"{self.path / 'environment.txt'} names no processor (a line like '2 cpu NAME')")
        processors = tuple(" ".join(self.environment[index].split()) for index in places)
        gpus = []
        for line in self.environment[places[-1] + 1:]:
            if re.match(r"(g\+\+|torch) ", line):
                break
            gpus.append(line.split(",")[0])
        return processors, tuple(gpus)
