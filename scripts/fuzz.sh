#!/usr/bin/env bash
# Fuzzes the readers of checkpoints with libFuzzer, one after the other, under AddressSanitizer and
# UndefinedBehaviorSanitizer. What was found interesting stays in build-fuzz/corpus/ for the next time; the ends of the
# logs go to bench/results/. Ends with an error at the first input that is handled badly, and says where it lies.
#
# Usage: scripts/fuzz.sh [SECONDS [TARGET...]]
#   SECONDS  for each target; default: 600
#   TARGET   safetensors or checkpoint; default: both
# Installs clang if it is missing.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

seconds="${1:-600}"
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || die "seconds are '$seconds', legal are whole numbers from 1"
targets=("${@:2}")
[ "${#targets[@]}" -gt 0 ] || targets=(safetensors checkpoint)
for target in "${targets[@]}"; do
  case "$target" in
    safetensors | checkpoint) ;;
    *) die "unknown target '$target'; legal are safetensors and checkpoint" ;;
  esac
done
"$root/scripts/setup.sh" fuzz
build_dir="$(build_dir_of fuzz)"
results="$(new_results_folder "$(nproc)cpu-fuzz")"
commit="$(tree_commit)"
{ describe_environment fuzz; clang++ --version | head -n 1; } >"$results/environment.txt"

# Torch, which clang did not compile, must not be held to what clang's sanitizers expect of containers and leaks.
export ASAN_OPTIONS=detect_leaks=0:detect_container_overflow=0 UBSAN_OPTIONS=print_stacktrace=1
cd "$build_dir"
rm -rf seeds
tests/fuzz/fuzz_seeds seeds
for target in "${targets[@]}"; do
  say "Fuzzing $target for $seconds s"
  mkdir -p "corpus/$target"
  command=(tests/fuzz/fuzz_"$target" "-max_total_time=$seconds" -print_final_stats=1 -timeout=10
    "-artifact_prefix=$target-" "corpus/$target" "seeds/$target")
  status=0
  "${command[@]}" >"$target.log" 2>&1 || status=$?
  {
    printf '# commit %s\n# in build-fuzz: %s\n' "$commit" "${command[*]}"
    # The words that libFuzzer recommends for a dictionary would fill the end.
    grep -av ' # Uses: ' "$target.log" | tail -n 40
  } >"$results/$target.log"
  tail -n 9 "$target.log"
  [ "$status" -eq 0 ] || die "$target: the whole log is $build_dir/$target.log, the input that it names lies beside it"
done
say "Raw logs are in ${results#"$root/"}"
