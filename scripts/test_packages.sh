#!/usr/bin/env bash
# Installs the Debian packages that the real tests need: a SLURM cluster and shellcheck. Called by `make test`. Without
# root or apt-get nothing happens: the tests that miss something then say so.
set -euo pipefail

packages=(slurmctld slurmd slurm-client munge shellcheck)

main() {
    local missing=() package
    command -v apt-get >/dev/null || return 0
    for package in "${packages[@]}"; do
        installed "$package" || missing+=("$package")
    done
    if [[ ${#missing[@]} == 0 || $(id -u) != 0 ]]; then
        return 0
    fi
    echo "Installing Debian packages for tests: ${missing[*]}"
    install "${missing[@]}"
}

installed() {
    [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == "install ok installed" ]]
}

install() {
    local try log=/tmp/primus-test-packages.log
    for try in 1 2 3; do
        if { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1; then
            return
        fi
        sleep $((try * 5))
    done
    tail -n 20 "$log" >&2
    echo "test packages: apt-get could not install $*" >&2
    exit 1
}

main
