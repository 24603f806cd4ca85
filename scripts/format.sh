#!/usr/bin/env bash
# Formats the C++ and CUDA sources as CI wants them, with the version of clang-format that CI has.
#
# Usage: scripts/format.sh [--check]
#   --check  changes nothing, and fails where something would be changed
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case "${1:-}" in
  "") how=(-i) ;;
  --check) how=(--dry-run --Werror) ;;
  *) die "unknown option $1; usage: scripts/format.sh [--check]" ;;
esac
tools="$root/build-ci-tools"
if [ ! -f "$tools/.installed" ] || ! cmp -s "$root/.ci/requirements.txt" "$tools/.installed"; then
  python="$venv/bin/python"
  [ -x "$python" ] || python=python3
  "$python" -m venv --clear "$tools"
  "$tools/bin/python" -m pip install --quiet --disable-pip-version-check -r "$root/.ci/requirements.txt"
  cp "$root/.ci/requirements.txt" "$tools/.installed"
fi
cd "$root"
find kernels regimes runtime integrations bench examples tests \
  \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  xargs -0 "$tools/bin/clang-format" "${how[@]}"
