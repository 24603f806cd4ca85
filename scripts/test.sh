#!/usr/bin/env bash
# Runs the tests, after scripts/setup.sh; ends with ctest's own summary.
#
# Usage: scripts/test.sh [CTEST_ARGUMENT...]        all but the slow ones
#        scripts/test.sh slow [CTEST_ARGUMENT...]   the slow ones
# LEAPVERIFY_PRESET chooses the build, as in scripts/setup.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

selection=(-LE slow)
if [ "${1:-}" = slow ]; then
  selection=(-L slow)
  shift
fi
preset="${LEAPVERIFY_PRESET:-dev}"
"$root/scripts/setup.sh" "$preset"

say "Testing preset $preset"
cd "$root"
exec ctest --preset "$preset" --output-on-failure --no-tests=error "${selection[@]}" -j 2 "$@"
