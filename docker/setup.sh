#!/usr/bin/env bash
# Makes the environment: a Python >= 3.11, ffmpeg, and the locked packages. Usage: setup.sh VENV
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1

say() { echo "setup: $*" >&2; }
stop() { say "$*"; exit 1; }

# apt-get where this user may use it without being asked for a password; otherwise says so and returns 1.
install() {
    command -v apt-get >/dev/null || return 1
    local as=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as=(sudo -n)
    fi
    say "installing $* with apt-get"
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2
}

find_python() {
    for name in python3.13 python3.12 python3.11 python3 python; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
}

command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || install ffmpeg ||
    stop "ffmpeg is missing and apt-get may not be used here: install ffmpeg 4 to 8 and run the same command again"

python=$(find_python)
if [ -z "$python" ]; then
    install python3 python3-venv || true
    python=$(find_python)
fi
[ -n "$python" ] || stop "no Python >= 3.11 was found: install one and run the same command again"

if command -v uv >/dev/null; then
    uv=(uv)
    [ -x "$venv/bin/python" ] || uv venv -q --python "$python" "$venv"
else
    if [ ! -x "$venv/bin/python" ]; then
        "$python" -m venv "$venv" 2>/dev/null || { install python3-venv && "$python" -m venv "$venv"; } ||
            stop "$python cannot make an environment: install its venv module (Debian, Ubuntu: python3-venv)"
    fi
    "$venv/bin/python" -m pip install -q uv
    uv=("$venv/bin/uv")
fi
say "installing the locked packages into $venv (a few GB the first time)"
"${uv[@]}" pip install -q --python "$venv/bin/python" --compile-bytecode -r docker/requirements.lock
"${uv[@]}" pip install -q --python "$venv/bin/python" --no-deps -e .
