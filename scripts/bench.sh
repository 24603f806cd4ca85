#!/usr/bin/env bash
# Runs the measurements and leaves raw logs, the commands and the environment in a new folder under bench/results/.
#
# Usage: scripts/bench.sh [all|overhead|throughput|demo|kernels|closed-loop]
# closed-loop takes an hour or two and is not part of all; bench/closed_loop.py says how to do it in parts.
# LEAPVERIFY_PRESET chooses the build, as in scripts/setup.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -le 1 ] || die "one measurement at a time; usage: scripts/bench.sh [all|overhead|throughput|demo|kernels|closed-loop]"
what="${1:-all}"
case "$what" in
  all | overhead | throughput | demo | kernels | closed-loop) ;;
  *) die "unknown measurement '$what'; legal are all, overhead, throughput, demo, kernels and closed-loop" ;;
esac
preset="${LEAPVERIFY_PRESET:-dev}"
"$root/scripts/setup.sh" "$preset"
build_dir="$(build_dir_of "$preset")"
results="$(new_results_folder "$(nproc)cpu-$what")"

describe_environment "$preset" >"$results/environment.txt"

measure() { # NAME COMMAND...
  local name="$1"
  shift
  say "Measuring $name"
  { printf '# %s\n' "${*//"$root/"/}"; "$@"; } | tee "$results/$name.jsonl" | tail -n 1
}

if [ "$what" = all ] || [ "$what" = overhead ]; then
  measure step_overhead "$build_dir/bench/bench_step_overhead" 200
fi
if [ "$what" = all ] || [ "$what" = throughput ]; then
  measure throughput "$venv/bin/python" "$root/bench/throughput.py" "$build_dir/leapverify"
fi
if [ "$what" = all ] || [ "$what" = demo ]; then
  for enabled in true false; do
    say "Measuring demo with leapverify.enabled=$enabled"
    run="$(mktemp -d)/run"
    "$build_dir/leapverify" train --preset demo --data "$(demo_text)" --run "$run" \
      --set "leapverify.enabled=$enabled" 2>&1 |
      sed "s#$run#RUN#" | tee "$results/demo-enabled-$enabled.log" | tail -n 3
    rm -rf "$(dirname "$run")"
  done
fi
if [ "$what" = all ] || [ "$what" = kernels ]; then
  say "Measuring kernels"
  "$build_dir/bench/bench_kernels" --benchmark_out_format=json --benchmark_out="$results/kernels.json" \
    2>&1 | tee "$results/kernels.log"
  "$venv/bin/python" "$root/bench/kernels/table.py" "$results/kernels.json" "$results/kernels.md"
fi
if [ "$what" = closed-loop ]; then
  say "Measuring closed-loop"
  "$venv/bin/python" "$root/bench/closed_loop.py" "$build_dir/leapverify" "$(demo_text)" "$results"
fi
say "Raw logs are in ${results#"$root/"}"
