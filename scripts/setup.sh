#!/usr/bin/env bash
# Makes the tree ready: system packages, .venv with torch, a CUDA 13 toolkit, then configures and builds.
# A second call finds everything done and takes seconds.
#
# Usage: scripts/setup.sh [--no-build] [PRESET]
#   PRESET      a preset of CMakePresets.json; default: $LEAPVERIFY_PRESET, else dev
#   --no-build  stop before configuring
# LEAPVERIFY_IGNORE_SYSTEM_CUDA=1 takes the toolkit from Python packages even where one is installed.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

build=yes
preset="${LEAPVERIFY_PRESET:-dev}"
for argument in "$@"; do
  case "$argument" in
    --no-build) build=no ;;
    -h | --help)
      show_help
      exit 0
      ;;
    -*) die "unknown option $argument; usage: scripts/setup.sh [--no-build] [PRESET]" ;;
    *) preset="$argument" ;;
  esac
done
case "$preset" in
  dev | quick | ci | sanitize | fuzz) ;;
  *) die "unknown preset '$preset'; legal are dev, quick, ci, sanitize and fuzz" ;;
esac

version_at_least() { # VERSION MINIMUM
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# --- Python

find_python() { # prints the first interpreter torch has wheels for
  local candidate
  for candidate in python3 /usr/bin/python3 python3.13 python3.12 python3.11 python3.10 python3.14; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

has_venv() {
  "$1" -c 'import ensurepip, venv' 2>/dev/null
}

has_headers() { # the Python package's C++ module needs them
  "$1" -c 'import os, sysconfig; exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'
}

# --- System packages

missing_packages() {
  local pair package
  local packages=(libbenchmark-dev libcli11-dev libgmock-dev libgtest-dev libopenmpi-dev libyaml-cpp-dev
    nlohmann-json3-dev openmpi-bin)
  [ "$preset" != fuzz ] || packages+=(clang libclang-rt-dev)
  for pair in g++:g++ cmake:cmake ninja:ninja-build; do
    command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
  done
  [ -x "$venv/bin/python" ] || has_venv "$1" || echo python3-venv
  has_headers "$1" || echo python3-dev
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

install_packages() {
  local as_root=()
  local by_hand="install them by hand and run this again: apt-get install $*"
  command -v apt-get >/dev/null || die "system packages are missing and there is no apt-get; $by_hand"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "system packages are missing, and without root or sudo they cannot be installed; $by_hand"
    as_root=(sudo)
  fi
  say "Installing system packages: $*"
  "${as_root[@]}" apt-get update -q || die "apt-get update failed; $by_hand"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" ||
    die "apt-get install failed; $by_hand"
}

python="$(find_python)" || die "LeapVerify needs Python 3.10 to 3.14; python3 is $(python3 --version 2>&1 || echo missing)"
mapfile -t missing < <(missing_packages "$python")
if [ "${#missing[@]}" -gt 0 ]; then
  install_packages "${missing[@]}"
fi

# --- .venv

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  # A Python from elsewhere without ensurepip is not helped by the system's python3-venv.
  has_venv "$python" || python=/usr/bin/python3
  say "Creating .venv with $("$python" --version)"
  "$python" -m venv --clear "$venv" || die "python -m venv failed with $python"
fi

# Installs requirement files, once per content.
require() { # NAME FILE
  local stamp="$venv/.installed-$1"
  local wanted
  wanted="$(cat "$2")"
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    say "Installing Python packages of ${2#"$root/"}"
    "$venv/bin/python" -m pip install --disable-pip-version-check -r "$2" || die "pip could not install ${2#"$root/"}"
    printf '%s\n' "$wanted" >"$stamp"
  fi
}

require torch "$root/scripts/requirements.txt"
if ! version_at_least "$(cmake --version | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')" 3.24; then
  require cmake "$root/scripts/requirements-cmake.txt"
  export PATH="$venv/bin:$PATH"
fi

# --- CUDA toolkit

is_cuda_13() { # ROOT
  [ -x "$1/bin/nvcc" ] && [ -e "$1/include/cuda_runtime.h" ] && [ -e "$1/include/cublas_v2.h" ] &&
    [ -e "$1/lib64/libcudart.so" ] && "$1/bin/nvcc" --version 2>/dev/null | grep -q 'release 13\.'
}

find_system_cuda() {
  local candidate on_path
  on_path="$(command -v nvcc || true)"
  if [ -n "$on_path" ]; then
    on_path="$(dirname "$(dirname "$(readlink -f "$on_path")")")"
  fi
  for candidate in "${CUDA_HOME:-}" "${CUDA_PATH:-}" "$on_path" /usr/local/cuda /usr/local/cuda-13*; do
    if [ -n "$candidate" ] && is_cuda_13 "$candidate"; then
      printf '%s' "$candidate"
      return
    fi
  done
  return 1
}

if [ "${LEAPVERIFY_IGNORE_SYSTEM_CUDA:-0}" = 1 ] || ! cuda="$(find_system_cuda)"; then
  require cuda "$root/scripts/requirements-cuda.txt"
  "$root/scripts/cuda_from_wheels.sh" "$venv"
  cuda="$venv/cuda"
  is_cuda_13 "$cuda" || die "the CUDA toolkit put together in $cuda is not complete; remove .venv and run this again"
fi
# Whatever else is installed, every tool that looks for CUDA finds this one.
export CUDA_HOME="$cuda" CUDA_PATH="$cuda" CUDAToolkit_ROOT="$cuda" CUDACXX="$cuda/bin/nvcc" PATH="$cuda/bin:$PATH"

if [ "$build" = no ]; then
  exit 0
fi

# --- Configure and build

build_dir="$(build_dir_of "$preset")"
stamp="$build_dir/.configured"
wanted="$(printf '%s\n' "$root" "$cuda" "$(cmake --version | head -n 1)" "$(cat "$root/CMakePresets.json")")"
if [ ! -f "$build_dir/build.ninja" ] || [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  say "Configuring preset $preset with CUDA from $cuda"
  (cd "$root" && cmake --fresh --preset "$preset")
  printf '%s\n' "$wanted" >"$stamp"
fi

# A compiler that reads torch's headers takes up to 2 GB.
jobs="$(nproc)"
memory_gb="$(awk '/^MemAvailable:/ {print int($2 / 1048576)}' /proc/meminfo)"
if [ "$jobs" -gt $((memory_gb / 2)) ]; then
  jobs=$((memory_gb / 2 > 0 ? memory_gb / 2 : 1))
fi
say "Building in ${build_dir#"$root/"} (preset $preset, $jobs at a time)"
cd "$root"
cmake --build --preset "$preset" -j "$jobs"
