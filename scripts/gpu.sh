#!/usr/bin/env bash
# Everything that can only be checked on an NVIDIA GPU, in one command: the tests labelled gpu, compute-sanitizer over
# the kernel tests, the measurements, and a profile of the kernels. Raw logs go to bench/results/; a step that fails
# does not keep the others from running.
#
# Usage: scripts/gpu.sh
# LEAPVERIFY_PRESET chooses the build, as in scripts/setup.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -eq 0 ] || die "scripts/gpu.sh takes no arguments, got: $*"
command -v nvidia-smi >/dev/null && nvidia-smi -L | grep -q GPU || die "no NVIDIA GPU on this machine"
preset="${LEAPVERIFY_PRESET:-dev}"
"$root/scripts/setup.sh" "$preset"
build_dir="$(build_dir_of "$preset")"
results="$(new_results_folder "$(nvidia-smi --query-gpu=name --format=csv,noheader -i 0 | tr ' /' '--')-checks")"
describe_environment "$preset" >"$results/environment.txt"
nvidia-smi -q -i 0 >"$results/gpu.txt"

failed=()
step() { # NAME COMMAND...: its output goes to NAME.log too
  local name="$1"
  shift
  say "$name"
  if ! "$@" 2>&1 | tee "$results/$name.log"; then
    failed+=("$name")
  fi
}

tool() { # prints the path of a tool of the CUDA toolkit
  local candidate
  for candidate in "$(command -v "$1" || true)" "${CUDA_HOME:-/usr/local/cuda}/bin/$1" /opt/nvidia/nsight-compute/*/"$1"; do
    if [ -x "$candidate" ]; then
      printf '%s' "$candidate"
      return
    fi
  done
  return 1
}

cd "$root"
step tests ctest --preset "$preset" -L gpu --output-on-failure --no-tests=error

if sanitizer="$(tool compute-sanitizer)"; then
  # Torch hands out parts of large blocks, which would hide accesses out of bounds.
  export PYTORCH_NO_CUDA_MEMORY_CACHING=1
  for check in memcheck racecheck initcheck; do
    step "$check-kernels" "$sanitizer" --tool "$check" --error-exitcode 1 \
      "$build_dir/tests/kernels/test_kernels" --gtest_filter='*cuda*'
    step "$check-runtime" "$sanitizer" --tool "$check" --error-exitcode 1 \
      "$build_dir/tests/runtime/test_runtime" --gtest_filter='*cuda*'
  done
  unset PYTORCH_NO_CUDA_MEMORY_CACHING
else
  failed+=("compute-sanitizer, which is not installed")
fi

step kernels "$build_dir/bench/bench_kernels" --device=cuda \
  --benchmark_out_format=json --benchmark_out="$results/kernels.json"
step kernels-table "$venv/bin/python" "$root/bench/kernels/table.py" "$results/kernels.json" "$results/kernels.md"

if profiler="$(tool ncu)"; then
  # Bandwidth, sectors a request and stall reasons of every launch; the report opens in Nsight Compute too.
  step profile "$profiler" --set full --print-details all --export "$results/profile" --force-overwrite \
    --kernel-name 'regex:combine_kernel|adam_direction_kernel|checksum_kernel|copy_kernel|gram_partials_kernel' \
    "$build_dir/bench/bench_kernels" --device=cuda --shapes=gpt2 --iterations=1 \
    --benchmark_filter='(combine|adam_direction|checksum|copy|candidates|gram).*/leapverify'
else
  failed+=("ncu, which is not installed")
fi

say "Raw logs are in ${results#"$root/"}"
if [ "${#failed[@]}" -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
