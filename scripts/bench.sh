#!/usr/bin/env bash
# Runs the measurements and leaves raw logs, the commands and the environment in a new folder under bench/results/, and
# a report of them. bench/compare.py holds two such folders against each other.
#
# Usage: scripts/bench.sh [all|overhead|throughput|demo|kernels|ranks|cost|python-overhead|calibration]
#        scripts/bench.sh closed-loop|ksweep|time-to-target|any-rate [FOLDER]
# ranks takes two processes on a CPU, or all GPUs, for a minute, cost and calibration ten to twenty minutes each, ksweep
# half an hour, closed-loop an hour or two, time-to-target and any-rate several; they are not part of all. Those of the second
# line may be stopped at any time: with FOLDER they go on with what they left under bench/results/. Their programs in
# bench/ take more, such as a limit of time.
# LEAPVERIFY_DEVICE: cpu or cuda, which is the default where there is an NVIDIA GPU; cost and calibration are of the CPU.
# LEAPVERIFY_DATA: what ksweep trains on, by default Python's standard library; text, or tokens of GPT-2 (docs/data.md).
# LEAPVERIFY_PRESET chooses the build, as in scripts/setup.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

quick="overhead throughput demo kernels"
in_parts="closed-loop ksweep time-to-target any-rate"
legal="all $quick ranks cost python-overhead calibration $in_parts"
what="${1:-all}"
[[ " $legal " == *" $what "* ]] || die "unknown measurement '$what'; legal are $legal"
if [ $# -gt 2 ] || { [ $# -eq 2 ] && [[ " $in_parts " != *" $what "* ]]; }; then
  die "'${*:2}' is too much; a folder to go on with is legal after $in_parts"
fi
[ $# -lt 2 ] || [ -f "$2/environment.txt" ] || die "$2: not a folder of results"
device="${LEAPVERIFY_DEVICE:-}"
if [ -z "$device" ]; then
  device=cpu
  ! has_gpu || device=cuda
fi
[[ " cpu cuda " == *" $device "* ]] || die "LEAPVERIFY_DEVICE is '$device'; legal are cpu and cuda"
preset="${LEAPVERIFY_PRESET:-dev}"
"$root/scripts/setup.sh" "$preset"
build_dir="$(build_dir_of "$preset")"
if [ $# -eq 2 ]; then
  results="$(cd "$2" && pwd)"
  printf 'continued at commit %s\n' "$(tree_commit)" >>"$results/environment.txt"
else
  machine="$(nproc)cpu"
  [ "$device" = cpu ] || machine="$(gpu_name)"
  results="$(new_results_folder "$machine-$what")"
  describe_environment "$preset" >"$results/environment.txt"
fi

measure() { # NAME COMMAND...
  local name="$1"
  shift
  say "Measuring $name"
  local shown="${*//"$root/"/}"
  { printf '# %s\n' "${shown//"$(demo_text)"/PYTHON_STANDARD_LIBRARY}"; "$@"; } | tee "$results/$name.jsonl" | tail -n 1
}

note_command() { # COMMAND: once
  grep -qxF "command $1" "$results/environment.txt" || printf 'command %s\n' "$1" >>"$results/environment.txt"
}

measure_overhead() {
  measure step_overhead "$build_dir/bench/bench_step_overhead" 200 "$device"
}

measure_throughput() {
  local size=()
  [ "$device" = cpu ] || size=(--model gpt2-124m --device cuda --rounds 3)
  measure throughput "$venv/bin/python" "$root/bench/throughput.py" "$build_dir/leapverify" "${size[@]}"
}

measure_ranks() {
  local start=(mpirun -n 2 --bind-to none)
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  [ "$device" = cpu ] || start=("$venv/bin/torchrun" --no-python --standalone --nproc-per-node gpu --)
  measure shared_verification "${start[@]}" "$build_dir/bench/bench_shared_verification" 64 40
}

measure_demo() {
  local preset_of_demo=demo
  [ "$device" = cpu ] || preset_of_demo=demo-gpu
  for enabled in true false; do
    say "Measuring demo with leapverify.enabled=$enabled"
    run="$(mktemp -d)/run"
    "$build_dir/leapverify" train --preset "$preset_of_demo" --data "$(demo_text)" --run "$run" \
      --set "leapverify.enabled=$enabled" 2>&1 |
      sed "s#$run#RUN#" | tee "$results/demo-enabled-$enabled.log" | tail -n 3
    rm -rf "$(dirname "$run")"
  done
}

measure_kernels() {
  say "Measuring kernels"
  "$build_dir/bench/bench_kernels" "--device=$device" --benchmark_out_format=json --benchmark_out="$results/kernels.json" \
    2>&1 | tee "$results/kernels.log"
}

measure_cost() {
  measure cost "$venv/bin/python" "$root/bench/run_cost.py" "$build_dir/leapverify" "$(demo_text)"
}

measure_python_overhead() {
  local size=()
  [ "$device" = cpu ] || size=(--batch 8 --context 1024)
  PYTHONPATH="$build_dir/python" measure python_overhead "$venv/bin/python" "$root/bench/python_overhead.py" --device "$device" "${size[@]}"
}

measure_calibration() {
  # Real gains: the demo at its own learning rate and at one ten times larger. Rule and mode let every horizon be
  # tried at every observation without anything being changed.
  runs="$(mktemp -d)"
  for rate in 3.0e-4 3.0e-3; do
    say "Collecting gains at learning rate $rate"
    "$build_dir/leapverify" train --preset demo --data "$(demo_text)" --run "$runs/$rate" --set run.threads=1 \
      --set "optimizer.lr=$rate" --set leapverify.mode=shadow --set leapverify.trace_losses=true \
      --set leapverify.max_overhead=.inf --set leapverify.max_gate_passes=1000000 \
      --set 'leapverify.horizons=[5,20,80]' \
      --set leapverify.verification.rule=proximity --set leapverify.verification.proximity_tolerance=1.0e+9 \
      --set leapverify.verification.sequences=256 2>&1 | tail -n 1
  done
  "$venv/bin/python" "$root/bench/candidates.py" 4 "$runs"/*/trace.jsonl >"$results/candidates.jsonl"
  rm -rf "$runs"
  measure calibration "$build_dir/bench/bench_calibration" 20000 1 "$results/candidates.jsonl"
}

measure_closed_loop() {
  say "Measuring closed-loop"
  note_command "bench/closed_loop.py ${build_dir#"$root/"}/leapverify PYTHON_STANDARD_LIBRARY FOLDER --device $device"
  "$venv/bin/python" "$root/bench/closed_loop.py" "$build_dir/leapverify" "$(demo_text)" "$results" --device "$device"
}

measure_time_to_target() {
  say "Measuring time-to-target"
  note_command "bench/time_to_target.py FOLDER --device $device"
  PYTHONPATH="$build_dir/python" "$venv/bin/python" "$root/bench/time_to_target.py" "$results" --device "$device"
}

measure_any_rate() {
  say "Measuring any-rate"
  note_command "bench/any_rate.py FOLDER --device $device"
  PYTHONPATH="$build_dir/python" "$venv/bin/python" "$root/bench/any_rate.py" "$results" --device "$device"
}

measure_ksweep() {
  say "Measuring ksweep"
  local data="${LEAPVERIFY_DATA:-$(demo_text)}"
  note_command "bench/ksweep.py ${build_dir#"$root/"}/leapverify DATA FOLDER --device $device"
  "$venv/bin/python" "$root/bench/ksweep.py" "$build_dir/leapverify" "$data" "$results" --device "$device"
}

for name in $([ "$what" = all ] && echo "$quick" || echo "$what"); do
  "measure_${name//-/_}"
done
[ "$what" = demo ] || "$venv/bin/python" "$root/bench/report.py" "$results"
say "Raw logs are in ${results#"$root/"}"
