#!/usr/bin/env bash
# Set up the environment: Python 3.11 or later, ffmpeg and the locked packages. Usage: setup.sh VENV
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1

say() { echo "setup: $*" >&2; }
stop() { say "$*"; exit 1; }
install() { bash scripts/install_packages.sh "$@"; }

find_python() {
    for name in python3.13 python3.12 python3.11 python3 python; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
}

command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || install ffmpeg ||
    stop "ffmpeg is missing and apt-get is not available to this user: install ffmpeg 4 to 8 and run the same command again"

python=$(find_python)
if [ -z "$python" ]; then
    install python3 python3-venv || true
    python=$(find_python)
fi
[ -n "$python" ] || stop "Python 3.11 or later is missing: install it and run the same command again"

if command -v uv >/dev/null; then
    uv=(uv)
    [ -x "$venv/bin/python" ] || uv venv -q --python "$python" "$venv"
else
    if [ ! -x "$venv/bin/python" ]; then
        "$python" -m venv "$venv" 2>/dev/null || { install python3-venv && "$python" -m venv "$venv"; } ||
            stop "$python cannot create an environment: install its venv module (Debian, Ubuntu: python3-venv)"
    fi
    "$venv/bin/python" -m pip install -q uv
    uv=("$venv/bin/uv")
fi

say "installing the locked packages into $venv (a few GB the first time)"
"${uv[@]}" pip install -q --python "$venv/bin/python" --compile-bytecode -r requirements.lock
"${uv[@]}" pip install -q --python "$venv/bin/python" --no-deps -e .
