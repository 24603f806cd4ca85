"""Which text a bench trained on, so that two logs can be told apart that only seem to be of the same one.

Usage: corpus.py TEXT: data.extensions for it; corpus.py TEXT NAME: a line for environment.txt
"""

import functools
import hashlib
import pathlib
import sys


def extensions_of(path):
    """data.extensions for a text: Python sources alone where a folder has some, as those of the demo, else every text."""
    path = pathlib.Path(path)
    return "[.py]" if path.is_dir() and any(path.rglob("*.py")) else "[]"


def suffix_of(settings):
    """What the files end with that a trainer with these settings takes of all below a folder."""
    return settings.get("data.extensions", "").strip("[]")


def of_another_text(lines, expected, key="text"):
    """Whether any line is of another text than is to be trained on; older ones do not say which they are of."""
    return any(line.get(key, expected) != expected for line in lines)


def check_text(lines, expected, log):
    """Ends the program where lines of a log are of another text."""
    if of_another_text(lines, expected):
        sys.exit(f"{log} holds runs on another text: name another folder")


@functools.lru_cache
def fingerprint(path, suffix=""):
    """16 hexadecimal digits of the SHA-256 over names and contents of the files at or below `path`, which end so."""
    path = pathlib.Path(path)
    files = [path] if path.is_file() else sorted(one for one in path.rglob(f"*{suffix}") if one.is_file())
    found = hashlib.sha256()
    for file in files:
        name, contents = file.relative_to(path if path.is_dir() else path.parent).as_posix(), file.read_bytes()
        found.update(f"{name} {len(contents)}\n".encode())
        found.update(contents)
    return found.hexdigest()[:16]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    path, *names = sys.argv[1:]
    settings = {"data.extensions": extensions_of(path)}
    print(f"text {names[0]} {fingerprint(path, suffix_of(settings))}" if names else settings["data.extensions"])


if __name__ == "__main__":
    main()
