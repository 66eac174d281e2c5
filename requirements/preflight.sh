#!/usr/bin/env bash
# Looks at what pip cannot install, before anything slow is begun: Python, the C++ compiler, Debian's packages.
# Each thing that is missing gets one sentence. Usage: preflight.sh PYTHON [DEBIAN_LIST]
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="${1:?usage: preflight.sh PYTHON [DEBIAN_LIST]}"
list="${2:-debian.txt}"

stop() {
    printf 'set-up: %s\n' "$*" >&2
    exit 1
}

# --- Debian's packages: only those that are missing, and only where we may install them -------------------
missing=()
if command -v dpkg-query >/dev/null; then
    while read -r package _; do
        case "$package" in '' | '#'*) continue ;; esac
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done <"$here/$list"
fi
if ((${#missing[@]})); then
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        printf 'set-up: installing Debian packages: %s\n' "${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null ||
            printf 'set-up: apt-get could not install them; going on without (see requirements/%s)\n' "$list" >&2
    else
        printf 'set-up: not installed, and not ours to install: %s; going on without (see requirements/%s)\n' \
            "${missing[*]}" "$list" >&2
    fi
fi

# --- Python -----------------------------------------------------------------------------------------------
command -v "$python" >/dev/null || stop "no '$python' here: install Python 3.11 or name one with 'make PYTHON=...'."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "'$python' is $("$python" --version 2>&1), but 3.11 or later is needed: name one with 'make PYTHON=...'."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "'$python' cannot make virtual environments: install its venv package (Debian: python3-venv)."
header="$("$python" -c 'import os, sysconfig; print(os.path.join(sysconfig.get_path("include"), "Python.h"))')"
[[ -f $header ]] || stop "'$python' has no Python.h, which a C++ extension needs: install its headers (Debian: python3-dev)."

# --- C++ --------------------------------------------------------------------------------------------------
compiler="${CXX:-c++}"
command -v "$compiler" >/dev/null || stop "no C++ compiler '$compiler': install g++ 12 or clang++ 15 (Debian: g++), or name one with CXX."
printf '#include <concepts>\n#include <span>\nstatic_assert(std::integral<int>);\nint main() { return 0; }\n' |
    "$compiler" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null ||
    stop "'$compiler' does not know C++20: install g++ 12 or clang++ 15, or name one with CXX."
