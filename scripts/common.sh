# Shared by the scripts: where things lie, and how they speak. To be sourced.
# shellcheck shell=bash disable=SC2034

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"

say() {
  printf '==> %s\n' "$*"
}

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# The build folder of a preset, as in CMakePresets.json.
build_dir_of() {
  if [ "$1" = dev ]; then
    printf '%s/build' "$root"
  else
    printf '%s/build-%s' "$root" "$1"
  fi
}

# setup.sh installs CMake there when the system's is too old.
if [ -x "$venv/bin/cmake" ]; then
  export PATH="$venv/bin:$PATH"
fi
