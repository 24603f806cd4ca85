#!/usr/bin/env bash
# Packs the built programs and the libraries that they need beside torch and CUDA, for a machine with a GPU that has
# torch but can build or install nothing. There: scripts/gpu.sh --built FOLDER
#
# Usage: scripts/pack_for_gpu.sh FOLDER
# LEAPVERIFY_PRESET chooses the build, as in scripts/setup.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -eq 1 ] || die "usage: scripts/pack_for_gpu.sh FOLDER"
folder="$1"
build_dir="$(build_dir_of "${LEAPVERIFY_PRESET:-dev}")"
mkdir -p "$folder/lib"
for name in leapverify tests/kernels/test_kernels tests/runtime/test_runtime \
  tests/integrations/trainer/test_trainer bench/bench_kernels bench/bench_step_overhead \
  bench/bench_ksweep_verdicts bench/bench_shared_verification; do
  [ -x "$build_dir/$name" ] || die "$build_dir/$name is not built; scripts/setup.sh builds it"
  strip -o "$folder/$(basename "$name")" "$build_dir/$name"
  # Whatever is neither torch's nor CUDA's nor the C and C++ runtimes'.
  ldd "$build_dir/$name" | awk '$3 ~ /^\// {print $3}' |
    { grep -E '/lib(yaml-cpp|benchmark|gtest|gmock|gomp|mpi|open-rte|open-pal|hwloc|event_|udev)[^/]*$' || true; } |
    while read -r library; do cp -L "$library" "$folder/lib/"; done
done
# For a python3 of the version that built it.
if [ -d "$build_dir/python" ]; then
  cp -rL "$build_dir/python" "$folder/"
  find "$folder/python" -name '*.so' -exec strip {} +
fi
du -sh "$folder"
