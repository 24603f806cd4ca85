#!/usr/bin/env bash
# Trains the demo with LeapVerify on Python's own standard library as text, after scripts/setup.sh.
# On a machine with an NVIDIA GPU the larger demo-gpu preset runs there.
#
# Usage: scripts/demo.sh [ARGUMENT_OF_LEAPVERIFY_TRAIN...]
# LEAPVERIFY_PRESET chooses the build, as in scripts/setup.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

build_preset="${LEAPVERIFY_PRESET:-dev}"
"$root/scripts/setup.sh" "$build_preset"
program="$(build_dir_of "$build_preset")/leapverify"

preset=demo
if "$venv/bin/python" -W ignore -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  preset=demo-gpu
fi
data="$(demo_text)"
run="$root/runs/demo-$(date +%Y%m%d-%H%M%S)"

say "Training preset $preset on $data into ${run#"$root/"}"
exec "$program" train --preset "$preset" --data "$data" --run "$run" "$@"
