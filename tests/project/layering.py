"""Fails on an include that goes against the layers: kernels <- regimes <- runtime/policy <- runtime <- integrations.

Usage: layering.py SOURCE_ROOT. Prints file:line of every wrong arrow. Includes of our own headers are followed,
so a forbidden header that comes in through an allowed one is found too.
"""

import re
import sys
from pathlib import Path

SOURCE_SUFFIXES = {".h", ".hpp", ".cuh", ".inl", ".c", ".cc", ".cpp", ".cu"}
LAYER_FOLDERS = ["kernels", "regimes", "runtime", "integrations"]

# What each layer may include; "std" is allowed everywhere. A layer that is missing here may include anything.
ALLOWED = {
    "kernels": {"kernels", "cuda", "compiler"},
    "regimes": {"kernels", "regimes"},
    "policy": {"kernels", "regimes", "policy"},
    "runtime": {"kernels", "regimes", "policy", "runtime", "cuda", "torch", "json", "posix"},
}
# Policy is a pure function of its state: no files, no clocks.
FORBIDDEN_STD = {"policy": {"fstream", "filesystem", "chrono", "ctime", "cstdio", "iostream", "thread", "time.h", "stdio.h"}}
# These must not come in through another header either.
NEVER_INDIRECTLY = {"kernels": {"torch"}, "regimes": {"torch", "cuda"}, "policy": {"torch", "cuda"}}

KINDS = [
    ("torch", re.compile(r"(torch|ATen|c10|caffe2)/")),
    ("json", re.compile(r"nlohmann/")),
    ("yaml", re.compile(r"yaml-cpp/")),
    ("command line", re.compile(r"CLI/")),
    ("cuda", re.compile(r"(cuda|cublas|curand|cusparse|cusolver|nvtx3|cub/|thrust/|cooperative_groups|vector_types|mma\.h)")),
    ("compiler", re.compile(r"[a-z]mmintrin\.h$")),  # vector instructions
    ("posix", re.compile(r"(sys/|unistd\.h|fcntl\.h|dlfcn\.h|pthread\.h|signal\.h)")),
    ("std", re.compile(r"([a-z_0-9]+|(assert|float|limits|math|stddef|stdint|stdio|stdlib|string|time)\.h)$")),
]

INCLUDE = re.compile(r"^\s*#\s*include\b\s*(?P<target>.*?)\s*$")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def layer_of(path):
    """The layer of a file, from its path below the source root (or below <leapverify/...>)."""
    parts = Path(path).parts
    if parts[0] == "runtime" and len(parts) > 2 and parts[1] == "policy":
        return "policy"
    return parts[0]


def kind_of(header):
    if header.startswith("leapverify/"):
        return layer_of(header[len("leapverify/"):])
    for kind, pattern in KINDS:
        if pattern.match(header):
            return kind
    return "unknown"


def includes_of(path):
    """Yields (line number, what stands after #include) for each include outside comments."""
    text = COMMENT.sub(lambda match: "\n" * match.group().count("\n"), path.read_text(encoding="utf-8"))
    for number, line in enumerate(text.splitlines(), start=1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group("target")


def indirect(root, header, kinds, seen):
    """The chain of headers from our `header` to one of a kind in `kinds`, or None."""
    path = root / header[len("leapverify/"):]
    if header in seen or not path.is_file():
        return None
    seen.add(header)
    for _, target in includes_of(path):
        name = target.strip("<>\"")
        if kind_of(name) in kinds:
            return [header, name]
        if name.startswith("leapverify/"):
            chain = indirect(root, name, kinds, seen)
            if chain:
                return [header] + chain
    return None


def complaint(root, layer, target):
    """Why a file of `layer` may not have `#include target`, or None."""
    if not target.startswith("<"):
        return f"write it as <leapverify/...>: #include {target}"
    header = target[1:].split(">")[0]
    kind = kind_of(header)
    if header.startswith("leapverify/") and not (root / header[len("leapverify/"):]).is_file():
        return f"no such file: <{header}>"
    if layer in ALLOWED and kind != "std" and kind not in ALLOWED[layer]:
        return f"{layer} may not include {kind}: <{header}>"
    if header in FORBIDDEN_STD.get(layer, ()):
        return f"{layer} may not include <{header}>"
    if header.startswith("leapverify/"):
        chain = indirect(root, header, NEVER_INDIRECTLY.get(layer, set()), set())
        if chain:
            return f"{layer} may not include {kind_of(chain[-1])}, not even through {' -> '.join(chain)}"
    return None


def check(root):
    """Returns (number of files read, list of complaints)."""
    files = 0
    complaints = []
    for folder in LAYER_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SOURCE_SUFFIXES:
                continue
            files += 1
            name = path.relative_to(root)
            for number, target in includes_of(path):
                reason = complaint(root, layer_of(name), target)
                if reason:
                    complaints.append(f"{name}:{number}: {reason}")
    return files, complaints


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    files, complaints = check(Path(sys.argv[1]))
    for line in complaints:
        print(line)
    print(f"{files} files read, {len(complaints)} wrong includes")
    sys.exit(1 if complaints or files == 0 else 0)


if __name__ == "__main__":
    main()
