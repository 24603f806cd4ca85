#!/usr/bin/env bash
# Everything that can only be checked on an NVIDIA GPU, in one command: the tests on CUDA, compute-sanitizer over the
# kernels and the runtime, the measurements, and a profile of the kernels. Raw logs go to bench/results/; a part that
# fails or runs out of its time does not keep the others from running.
#
# Usage: scripts/gpu.sh [--built FOLDER] [--data PATH] [--seconds N] [PART...]
#   PART            tests, ranks, sanitizer, kernels, overhead, throughput, cost, closed-loop, profile; default: all of
#                   them. Asked for by name: gpt2, GPT-2 124M at five learning rates with LeapVerify and without; ksweep
#                   and ksweep-qwen, the published experiment with GPT-2 124M and Qwen2.5-1.5B; time-to-target and
#                   any-rate, LeapVerify and its rivals
#   --built FOLDER  no setup and no build: the programs of scripts/pack_for_gpu.sh, and the python3 of the PATH
#   --data PATH     what gpt2 and the two of ksweep train on: tokens, of GPT-2 for gpt2 and ksweep (docs/data.md)
#   --seconds N     each of the last four stops then, default 3600, and goes on in runs/ at the next call
# LEAPVERIFY_PRESET chooses the build, as in scripts/setup.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

parts="tests ranks sanitizer kernels overhead throughput cost closed-loop profile"
with_data="gpt2 ksweep ksweep-qwen"
of_package="time-to-target any-rate"
built=""
data=""
seconds=3600
chosen=()
while [ $# -gt 0 ]; do
  case "$1" in
    --built)
      [ $# -ge 2 ] || die "--built needs a folder"
      built="$(cd "$2" && pwd)"
      shift
      ;;
    --data)
      [ -e "${2:-}" ] || die "--data needs a file or folder that is there, got '${2:-}'"
      data="$(cd "$(dirname "$2")" && pwd)/$(basename "$2")"
      shift
      ;;
    --seconds)
      [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || die "--seconds needs a whole number of at least 1, got '${2:-}'"
      seconds="$2"
      shift
      ;;
    *)
      [[ " $parts $with_data $of_package " == *" $1 "* ]] || die "unknown part '$1'; legal are $parts $with_data $of_package"
      chosen+=("$1")
      ;;
  esac
  shift
done
[ "${#chosen[@]}" -gt 0 ] || read -ra chosen <<<"$parts"
for part in $with_data; do
  [[ -n "$data" || " ${chosen[*]} " != *" $part "* ]] || die "the part $part needs --data"
done

has_gpu || die "no NVIDIA GPU on this machine"
preset="${LEAPVERIFY_PRESET:-dev}"
if [ -n "$built" ]; then
  programs="$built"
  python=python3
  torch="$(python3 -c 'import importlib.util; print(importlib.util.find_spec("torch").submodule_search_locations[0])')"
  export LD_LIBRARY_PATH="$built/lib:$torch/lib:${LD_LIBRARY_PATH:-}"
else
  "$root/scripts/setup.sh" "$preset"
  programs="$(build_dir_of "$preset")"
  python="$venv/bin/python"
fi
results="$(new_results_folder "$(gpu_name)")"
describe_environment "$preset" >"$results/environment.txt"
[ -z "$data" ] || "$python" "$root/bench/corpus.py" "$data" DATA >>"$results/environment.txt"
nvidia-smi -q -i 0 >"$results/gpu.txt"

program() { # NAME: where a program of that name lies, packed or in the build folder
  local found
  found="$(find "$programs" -name "$1" -type f -perm -u+x | head -n 1)"
  [ -n "$found" ] || die "no program $1 in $programs"
  printf '%s' "$found"
}

failed=()
step() { # NAME SECONDS COMMAND...: its output goes to NAME.log too
  local name="$1" limit="$2" start="$SECONDS"
  shift 2
  local shown="${*//"$root/"/}"
  [ -z "$data" ] || shown="${shown//"$data"/DATA}"
  if { printf '# %s\n' "$shown"; timeout "$limit" "$@" 2>&1; } >"$results/$name.log"; then
    say "$name: done in $((SECONDS - start)) s"
  else
    failed+=("$name")
    say "$name: FAILED after $((SECONDS - start)) s"
    tail -n 25 "$results/$name.log"
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

run_shards() { # COMMAND...: the test cases of a program, shared out among eight processes
  local shard pid pids=() status=0
  for shard in 0 1 2 3 4 5 6 7; do
    GTEST_TOTAL_SHARDS=8 GTEST_SHARD_INDEX="$shard" "$@" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || status=1
  done
  return "$status"
}
export -f run_shards

run_tests() {
  step tests-kernels 300 "$(program test_kernels)" --gtest_filter='*cuda*'
  step tests-runtime 120 "$(program test_runtime)" --gtest_filter='*cuda*'
  step tests-trainer 120 "$(program test_trainer)" --gtest_filter='*cuda*'
  # Files look the same wherever the training is.
  step tests-runtime-on-cuda 600 bash -c 'run_shards "$@"' shards env LEAPVERIFY_TEST_DEVICE=cuda \
    "$(program test_runtime)" --gtest_filter='-*Safetensors*:*Checkpoint*'
}

run_ranks() {
  step ranks 900 "$python" "$root/tests/integrations/program/nccl_test.py" "$(program leapverify)" -v
  step shared-verification 300 "$python" -m torch.distributed.run --no-python --standalone --nproc-per-node 1 -- \
    "$(program bench_shared_verification)"
}

run_sanitizer() {
  local sanitizer check
  if ! sanitizer="$(tool compute-sanitizer)"; then
    failed+=("compute-sanitizer, which is not installed")
    return
  fi
  # Torch hands out parts of large blocks, which would hide accesses out of bounds.
  export PYTORCH_NO_CUDA_MEMORY_CACHING=1
  for check in memcheck racecheck initcheck; do
    step "$check-kernels" 600 "$sanitizer" --tool "$check" --error-exitcode 1 \
      "$(program test_kernels)" --gtest_filter='*cuda*:-*Large*:*Exhaustive*'
  done
  # One test asks the cache how much memory is taken.
  step memcheck-runtime 600 env LEAPVERIFY_TEST_DEVICE=cuda "$sanitizer" --tool memcheck --error-exitcode 1 \
    "$(program test_runtime)" --gtest_filter='SnapshotStore*:*AcceptedLeapLands*:*RollsBackBitwise*:-*TakesNoMoreOfTheGpu*'
  unset PYTORCH_NO_CUDA_MEMORY_CACHING
}

run_kernels() {
  step kernels 900 "$(program bench_kernels)" --device=cuda \
    --benchmark_out_format=json --benchmark_out="$results/kernels.json"
  step kernels-table 60 "$python" "$root/bench/kernels/table.py" "$results/kernels.json" "$results/kernels.md"
}

run_overhead() {
  step step_overhead 300 "$(program bench_step_overhead)" 300 cuda
}

run_throughput() {
  local traces
  traces="$(mktemp -d)"
  step throughput 900 "$python" "$root/bench/throughput.py" "$(program leapverify)" --model gpt2-124m --device cuda \
    --rounds 3 --profile "$traces"
  rm -r "$traces"
  # Where the GPU waits for launches.
  step throughput-demo 300 "$python" "$root/bench/throughput.py" "$(program leapverify)" --model demo --device cuda \
    --against eager captured --rounds 3
}

run_cost() {
  step cost 1800 "$python" "$root/bench/run_cost.py" "$(program leapverify)" "$(demo_text)" "$results" --device cuda
}

run_closed_loop() {
  step closed-loop 3600 "$python" "$root/bench/closed_loop.py" "$(program leapverify)" "$(demo_text)" "$results" --jobs 4 \
    --device cuda
}

run_gpt2() {
  step closed-loop 3600 "$python" "$root/bench/closed_loop.py" "$(program leapverify)" "$data" "$results" \
    --device cuda --model gpt2-124m --grid start --jobs 3
}

# Of one model each, and of one kind of GPU.
parts_of() { # NAME: where it goes on
  printf '%s' "$root/runs/$1-$(gpu_name)"
}

in_parts() { # NAME LOG COMMAND...: what goes on where it was, also on another machine that has its results, and stops by itself
  local name="$1" log into="$results" below="" found
  log="$(parts_of "$name")/$2"
  if [ "$name" = ksweep-qwen ]; then
    below="$name/"
    into="$results/$name"
  fi
  found="$(printf '%s\n' "$root"/bench/results/*-"$(gpu_name)"*/"$below$2" | sort | tail -n 1)"
  shift 2
  if [ ! -e "$log" ] && [ -e "$found" ]; then
    mkdir -p "$(dirname "$log")"
    cp "$found" "$log"
  fi
  # What stops in time has some more to save its checkpoints.
  step "$name" $((seconds + 600)) "$@" --device cuda --seconds "$seconds"
  if [ -e "$log" ]; then
    mkdir -p "$into"
    cp "$log" "$into/"
    [ -e "$into/environment.txt" ] || cp "$results/environment.txt" "$into/"
    say "Tables: bench/report.py ${into#"$root/"}"
  fi
}

run_ksweep() {
  in_parts ksweep ksweep.jsonl "$python" "$root/bench/ksweep.py" "$(program leapverify)" "$data" "$(parts_of ksweep)"
}

run_ksweep_qwen() {
  in_parts ksweep-qwen ksweep.jsonl "$python" "$root/bench/ksweep.py" "$(program leapverify)" "$data" \
    "$(parts_of ksweep-qwen)" --model qwen2.5-1.5b --jobs 1
}

of_harness() { # NAME LOG PROGRAM JOBS
  export PYTHONPATH="$programs/python"
  if "$python" -c 'import leapverify, schedulefree, prodigyopt, dadaptation, mechanic_pytorch, peft' 2>"$results/$1.imports"; then
    in_parts "$1" "$2" "$python" "$root/bench/$3" "$(parts_of "$1")" --jobs "$4"
  else
    failed+=("$1, for which $python lacks a package: $(tail -n 1 "$results/$1.imports")")
  fi
  rm -f "$results/$1.imports"
  unset PYTHONPATH
}

run_time_to_target() {
  # One at a time, for the sake of the clock.
  of_harness time-to-target time_to_target.jsonl time_to_target.py 1
}

run_any_rate() {
  of_harness any-rate any_rate.jsonl any_rate.py 3
}

run_profile() {
  local profiler
  if ! profiler="$(tool ncu)"; then
    failed+=("ncu, which is not installed")
    return
  fi
  # Bandwidth, sectors a request and stall reasons of every launch; the report opens in Nsight Compute too. The GPU's
  # clocks stay as they are.
  step profile 600 "$profiler" --set full --clock-control none --print-details all --export "$results/profile" \
    --force-overwrite \
    --kernel-name 'regex:combine_kernel|adam_direction_kernel|average_kernel|sample_kernel|checksum_kernel|copy_kernel|gram_partials_kernel' \
    "$(program bench_kernels)" --device=cuda --shapes=gpt2 --iterations=1 \
    --benchmark_filter='(combine|adam_direction|average_step|sample|checksum|copy|candidates|gram).*/leapverify'
}

cd "$root"
for part in "${chosen[@]}"; do
  "run_${part//-/_}"
done

# Where nothing can be built, SciPy and matplotlib may be missing too.
[ -n "$built" ] || step report 300 "$python" "$root/bench/report.py" "$results"

say "Raw logs are in ${results#"$root/"}"
if [ "${#failed[@]}" -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
