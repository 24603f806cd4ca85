#!/usr/bin/env bash
# Runs the measurements and leaves raw logs, the commands and the environment in a new folder under bench/results/.
#
# Usage: scripts/bench.sh [all|overhead|throughput|demo|kernels|cost|python-overhead|calibration|closed-loop|ksweep]
# cost and calibration take ten to twenty minutes each, ksweep half an hour and closed-loop an hour or two; they are not
# part of all. bench/closed_loop.py and bench/ksweep.py say how to do those in parts.
# LEAPVERIFY_PRESET chooses the build, as in scripts/setup.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

quick="overhead throughput demo kernels"
legal="all $quick cost python-overhead calibration closed-loop ksweep"
[ $# -le 1 ] || die "one measurement at a time; legal are $legal"
what="${1:-all}"
[[ " $legal " == *" $what "* ]] || die "unknown measurement '$what'; legal are $legal"
preset="${LEAPVERIFY_PRESET:-dev}"
"$root/scripts/setup.sh" "$preset"
build_dir="$(build_dir_of "$preset")"
results="$(new_results_folder "$(nproc)cpu-$what")"

describe_environment "$preset" >"$results/environment.txt"

measure() { # NAME COMMAND...
  local name="$1"
  shift
  say "Measuring $name"
  local shown="${*//"$root/"/}"
  { printf '# %s\n' "${shown//"$(demo_text)"/PYTHON_STANDARD_LIBRARY}"; "$@"; } | tee "$results/$name.jsonl" | tail -n 1
}

measure_overhead() {
  measure step_overhead "$build_dir/bench/bench_step_overhead" 200
}

measure_throughput() {
  measure throughput "$venv/bin/python" "$root/bench/throughput.py" "$build_dir/leapverify"
}

measure_demo() {
  for enabled in true false; do
    say "Measuring demo with leapverify.enabled=$enabled"
    run="$(mktemp -d)/run"
    "$build_dir/leapverify" train --preset demo --data "$(demo_text)" --run "$run" \
      --set "leapverify.enabled=$enabled" 2>&1 |
      sed "s#$run#RUN#" | tee "$results/demo-enabled-$enabled.log" | tail -n 3
    rm -rf "$(dirname "$run")"
  done
}

measure_kernels() {
  say "Measuring kernels"
  "$build_dir/bench/bench_kernels" --benchmark_out_format=json --benchmark_out="$results/kernels.json" \
    2>&1 | tee "$results/kernels.log"
  "$venv/bin/python" "$root/bench/kernels/table.py" "$results/kernels.json" "$results/kernels.md"
}

measure_cost() {
  measure cost "$venv/bin/python" "$root/bench/run_cost.py" "$build_dir/leapverify" "$(demo_text)"
}

measure_python_overhead() {
  PYTHONPATH="$build_dir/python" measure python_overhead "$venv/bin/python" "$root/bench/python_overhead.py"
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
  "$venv/bin/python" "$root/bench/calibration_table.py" "$results/calibration.jsonl" "$results/calibration.md"
}

measure_closed_loop() {
  say "Measuring closed-loop"
  "$venv/bin/python" "$root/bench/closed_loop.py" "$build_dir/leapverify" "$(demo_text)" "$results"
}

measure_ksweep() {
  say "Measuring ksweep"
  "$venv/bin/python" "$root/bench/ksweep.py" "$build_dir/leapverify" "$(demo_text)" "$results"
  "$venv/bin/python" "$root/bench/ksweep_table.py" "$results" "$results/ksweep.md"
}

for name in $([ "$what" = all ] && echo "$quick" || echo "$what"); do
  "measure_${name//-/_}"
done
say "Raw logs are in ${results#"$root/"}"
