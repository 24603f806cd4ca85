#!/usr/bin/env bash
# Runs the measurements and leaves raw logs, the commands and the environment in a new folder under bench/results/, and
# a report of them. bench/compare.py holds two such folders against each other.
#
# Usage: scripts/bench.sh [all|overhead|throughput|demo|kernels|ranks|cost|python-overhead|calibration]
#        scripts/bench.sh cost|calibration|closed-loop|ksweep|time-to-target|any-rate [FOLDER]
# all are those that take minutes: overhead, throughput, demo and kernels. ranks takes two processes on a CPU, or all GPUs,
# for a minute, cost and calibration some twenty minutes each, ksweep an hour, closed-loop an hour or two, time-to-target and
# any-rate several. Those of the second line may be stopped at any time: with FOLDER they go on with what they left under
# bench/results/. A measurement that fails is named at the end; the others, and the report, are made all the same. The
# programs in bench/ take more, such as a limit of time.
# LEAPVERIFY_DEVICE: cpu or cuda, which is the default where there is an NVIDIA GPU; cost and calibration are of the CPU.
# LEAPVERIFY_DATA: a folder or file of text to train on in place of Python's standard library; for time-to-target and
# any-rate a folder, in place of torch's Python sources. On a GPU ksweep wants tokens of GPT-2 (docs/data.md).
# LEAPVERIFY_PRESET chooses the build, as in scripts/setup.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
  show_help
  exit 0
fi
quick="overhead throughput demo kernels"
in_parts="cost calibration closed-loop ksweep time-to-target any-rate"
legal="all $quick ranks python-overhead $in_parts"
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
[ -z "${LEAPVERIFY_DATA:-}" ] || [ -e "$LEAPVERIFY_DATA" ] || die "LEAPVERIFY_DATA: no file or folder '$LEAPVERIFY_DATA'"
if [[ " time-to-target any-rate " == *" $what "* ]] && [ -f "${LEAPVERIFY_DATA:-}" ]; then
  die "LEAPVERIFY_DATA: $what takes a folder of text, and '$LEAPVERIFY_DATA' is a file"
fi
[[ " cpu cuda " == *" $device "* ]] || die "LEAPVERIFY_DEVICE is '$device'; legal are cpu and cuda"
preset="${LEAPVERIFY_PRESET:-dev}"
"$root/scripts/setup.sh" "$preset"
build_dir="$(build_dir_of "$preset")"
if [ $# -eq 2 ]; then
  results="$(cd "$2" && pwd)"
  printf 'continued at commit %s\n' "$(tree_commit)" >>"$results/environment.txt"
else
  machine="$(env -u OMP_NUM_THREADS nproc)cpu"
  [ "$device" = cpu ] || machine="$(gpu_name)"
  results="$(new_results_folder "$machine-$what")"
  describe_environment "$preset" >"$results/environment.txt"
fi

text="${LEAPVERIFY_DATA:-$(demo_text)}"
text_name=PYTHON_STANDARD_LIBRARY
[ -z "${LEAPVERIFY_DATA:-}" ] || text_name=DATA
extensions="$("$venv/bin/python" "$root/bench/corpus.py" "$text")"

"$venv/bin/python" "$root/bench/corpus.py" "$text" "$text_name" >"$results/text.new"
if grep -q "^text " "$results/environment.txt" && ! grep -qxFf "$results/text.new" "$results/environment.txt"; then
  rm "$results/text.new"
  die "$2 holds measurements on another text; LEAPVERIFY_DATA names the text"
fi
grep -qxFf "$results/text.new" "$results/environment.txt" || cat "$results/text.new" >>"$results/environment.txt"
rm "$results/text.new"

shown() { # COMMAND...: as it is recorded
  local words="${*//"$text"/$text_name}"
  printf '%s' "${words//"$root/"/}"
}

measure() { # NAME COMMAND...: what it prints is a raw log, once it has ended
  local name="$1" part="$results/$1.part"
  shift
  say "Measuring $name"
  { printf '# %s\n' "$(shown "$@")"; "$@"; } | tee "$part" | tail -n 1
  mv "$part" "$results/$name.jsonl"
}

measure_in_parts() { # NAME PROGRAM ARGUMENT...: which writes its raw log into the folder itself
  say "Measuring $1"
  shift
  local command
  command="$(shown "$@")"
  note_command "${command//"${results#"$root/"}"/FOLDER}"
  PYTHONPATH="$build_dir/python" "$venv/bin/python" "$@"
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
    "$build_dir/leapverify" train --preset "$preset_of_demo" --data "$text" --run "$run" \
      --set "data.extensions=$extensions" --set "leapverify.enabled=$enabled" 2>&1 |
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
  measure_in_parts cost "$root/bench/run_cost.py" "$build_dir/leapverify" "$text" "$results"
}

measure_python_overhead() {
  local size=()
  [ "$device" = cpu ] || size=(--batch 8 --context 1024)
  PYTHONPATH="$build_dir/python" measure python_overhead "$venv/bin/python" "$root/bench/python_overhead.py" --device "$device" "${size[@]}"
}

collect_candidates() { # RATE: of a run of the demo, in which rule and mode let every horizon be tried, and change nothing
  local run="$results/runs/$1" found="$results/candidates-$1.jsonl" steps=600
  [ ! -e "$found" ] || return 0
  say "Collecting gains at learning rate $1"
  if [ -e "$run/checkpoints/latest" ]; then
    "$build_dir/leapverify" resume "$run" 2>&1 | tail -n 1
  else
    rm -rf "$run"
    mkdir -p "$results/runs"
    "$build_dir/leapverify" train --preset demo --data "$text" --run "$run" --set run.threads=1 \
      --set "run.steps=$steps" --set "data.extensions=$extensions" --set "optimizer.lr=$1" \
      --set leapverify.preset=verified --set leapverify.mode=shadow \
      --set leapverify.trace_losses=true --set leapverify.max_overhead=.inf --set leapverify.max_gate_passes=1000000 \
      --set 'leapverify.horizons=[5,20,80]' --set leapverify.verification.rule=proximity \
      --set leapverify.verification.proximity_tolerance=1.0e+9 --set leapverify.verification.sequences=256 2>&1 | tail -n 1
  fi
  # Whoever stops the program gets a checkpoint, and no error.
  grep -q "step-$steps\b" "$run/checkpoints/latest"
  "$venv/bin/python" "$root/bench/candidates.py" 4 "$run/trace.jsonl" >"$found.part"
  mv "$found.part" "$found"
}

measure_calibration() {
  if [ ! -e "$results/calibration.jsonl" ]; then
    # The demo's own learning rate, and one ten times larger.
    for rate in 3.0e-4 3.0e-3; do
      collect_candidates "$rate"
    done
    cat "$results"/candidates-*.jsonl >"$results/candidates.jsonl"
    measure calibration "$build_dir/bench/bench_calibration" 20000 1 "$results/candidates.jsonl"
  fi
  rm -rf "$results/runs" "$results"/candidates-*.jsonl
}

measure_closed_loop() {
  # Every combination, then those that end lowest, longer caps and more seeds.
  for grid in wide best; do
    measure_in_parts closed-loop "$root/bench/closed_loop.py" "$build_dir/leapverify" "$text" "$results" --device "$device" \
      --grid "$grid"
  done
}

measure_of_harness() { # NAME PROGRAM
  local of_text=()
  [ -z "${LEAPVERIFY_DATA:-}" ] || of_text=(--text "$text")
  measure_in_parts "$1" "$2" "$results" --device "$device" "${of_text[@]}"
}

measure_time_to_target() {
  measure_of_harness time-to-target "$root/bench/time_to_target.py"
}

measure_any_rate() {
  measure_of_harness any-rate "$root/bench/any_rate.py"
}

measure_ksweep() {
  measure_in_parts ksweep "$root/bench/ksweep.py" "$build_dir/leapverify" "$text" "$results" --device "$device"
}

failed=()
attempt() { # NAME COMMAND...: what fails does not keep the rest from being done
  local name="$1" status
  shift
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  [ "$status" -eq 0 ] || failed+=("$name")
}

for name in $([ "$what" = all ] && echo "$quick" || echo "$what"); do
  attempt "$name" "measure_${name//-/_}"
done
if compgen -G "$results/*.json*" >/dev/null; then
  attempt report "$venv/bin/python" "$root/bench/report.py" "$results"
fi
say "Raw logs are in ${results#"$root/"}"
if [ "${#failed[@]}" -gt 0 ]; then
  [[ " $in_parts " != *" $what "* ]] || say "To go on: scripts/bench.sh $what ${results#"$root/"}"
  die "failed: ${failed[*]}"
fi
