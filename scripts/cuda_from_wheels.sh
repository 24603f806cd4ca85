#!/usr/bin/env bash
# Makes a CUDA toolkit of the Python packages in a virtual environment, reachable as VENV/cuda.
# The packages share nvidia/cu13 and lack only the names that linkers look for: lib64, and lib*.so without a version.
#
# Usage: scripts/cuda_from_wheels.sh VENV
set -euo pipefail

venv="$1"
site="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
toolkit="$site/nvidia/cu13"
if [ ! -x "$toolkit/bin/nvcc" ]; then
  echo "error: no nvcc in $toolkit; install scripts/requirements-cuda.txt first" >&2
  exit 1
fi

link_missing() { # TARGET LINK
  [ -e "$2" ] || ln -sfn "$1" "$2"
}

link_missing lib "$toolkit/lib64"
for library in "$toolkit"/lib/lib*.so.*; do
  name="$(basename "$library")"
  link_missing "$name" "$toolkit/lib/${name%%.so.*}.so"
done
# Relative, so that a tree that moves keeps it.
link_missing "${toolkit#"$(cd "$venv" && pwd)/"}" "$venv/cuda"
