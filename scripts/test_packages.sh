#!/usr/bin/env bash
# Installs the Debian packages that the real tests need: a SLURM cluster, podman, shellcheck, a compiler and a browser. Called by `make test`.
# Without root or apt-get it only says what is missing, and those tests are skipped.
set -euo pipefail

packages=(slurmctld slurmd slurm-client munge podman runc conmon busybox-static shellcheck gcc libc6-dev openssl chromium)

main() {
    local missing=() package
    if ! command -v apt-get >/dev/null; then
        echo "test packages: no apt-get here; tests that miss one of these are skipped: ${packages[*]}" >&2
        return
    fi
    for package in "${packages[@]}"; do
        installed "$package" || missing+=("$package")
    done
    if [[ ${#missing[@]} == 0 ]]; then
        return
    fi
    if [[ $(id -u) != 0 ]]; then
        echo "test packages: some tests are skipped; to run them, as root: apt-get install ${missing[*]}" >&2
        return
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
