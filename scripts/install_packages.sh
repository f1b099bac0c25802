#!/usr/bin/env bash
# Install Debian packages, without asking for a password. Usage: install_packages.sh PACKAGE...
# Exit status 1: there is no apt-get, or this user may not use it.
set -euo pipefail

command -v apt-get >/dev/null || exit 1
as=()
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || exit 1
    as=(sudo -n)
fi

echo "setup: installing $* with apt-get" >&2
"${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2
"${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2
