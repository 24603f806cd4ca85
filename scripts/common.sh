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

tree_commit() {
  git -C "$root" describe --always --dirty 2>/dev/null || echo unknown
}

has_gpu() {
  nvidia-smi -L 2>/dev/null | grep -q GPU
}

# What a log of measurements must say of where it was made.
describe_environment() { # PRESET
  printf 'commit %s\n' "$(tree_commit)"
  printf 'preset %s\n' "$1"
  uname -sr
  sed -n 's/^model name[^:]*: /cpu /p' /proc/cpuinfo | sort | uniq -c
  nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null || echo 'no GPU'
  g++ --version | head -n 1
  "${python:-$venv/bin/python}" -W ignore -c 'import torch; print("torch", torch.__version__)'
}

# What the comment at the head of a script says.
show_help() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"
}

# As a part of a folder's name.
gpu_name() {
  nvidia-smi --query-gpu=name --format=csv,noheader -i 0 | tr ' /' '--'
}

# Makes and prints a folder for raw logs; one from earlier the same day is never written over.
new_results_folder() { # NAME
  local first folder number=1
  first="$root/bench/results/$(date +%Y-%m-%d)-$1"
  folder="$first"
  while [ -e "$folder" ]; do
    number=$((number + 1))
    folder="$first-$number"
  done
  mkdir -p "$folder"
  printf '%s' "$folder"
}

# The demo's text: the sources of Python's own standard library.
demo_text() {
  "${python:-$venv/bin/python}" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'
}

# setup.sh installs CMake there when the system's is too old.
if [ -x "$venv/bin/cmake" ]; then
  export PATH="$venv/bin:$PATH"
fi
