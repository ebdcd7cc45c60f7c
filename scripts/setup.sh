#!/usr/bin/env bash
# Makes .venv in this checkout and installs Primus into it with everything that its tests and examples need.
# Called by every make target; does nothing when nothing changed since the last time. PYTHON=... picks an interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
stamp=$venv/setup-stamp
log=$venv/install.log

main() {
    local wanted python base_torch
    wanted=$(fingerprint)
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && "$venv/bin/python" -c '' 2>/dev/null; then
        return
    fi
    python=$(choose_python)
    need_module "$python" ensurepip "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    base_torch=$(torch_of "$python")
    echo "Setting up $venv with $("$python" -V) (a few minutes the first time)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    write_constraints "$base_torch"
    [[ -z $base_torch ]] || show_packages_of "$python"
    install
    check_torch "$base_torch"
    echo "$wanted" >"$stamp"
}

# What the installation depends on; another value means: install again.
fingerprint() {
    { pwd; echo "${PYTHON:-}"; cat pyproject.toml constraints/cpu.txt scripts/setup.sh; } | sha256sum | cut -d' ' -f1
}

# $PYTHON; else a python3 that already has torch; else 3.11, which the pinned versions were tested with; else python3.
choose_python() {
    if [[ -n ${PYTHON:-} ]]; then
        supported "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.10 to 3.13"
        command -v "$PYTHON"
        return
    fi
    if supported python3 && [[ -n $(torch_of python3) ]]; then
        command -v python3
        return
    fi
    local name
    for name in python3.11 python3; do
        if supported "$name"; then
            command -v "$name"
            return
        fi
    done
    command -v python3 >/dev/null || install_debian python3 python3-venv
    supported python3 || fail "Python 3.10 to 3.13 is needed, python3 is $(python3 -V 2>&1). Name another with PYTHON=/path/to/python"
    command -v python3
}

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null
}

# "VERSION PATH" of the torch that an interpreter has, or nothing.
torch_of() {
    "$1" - <<'PYTHON'
from importlib import metadata, util
spec = util.find_spec("torch")
if spec is not None and spec.origin:
    print(metadata.version("torch"), spec.origin)
PYTHON
}

need_module() {
    local python=$1 module=$2 package=$3
    "$python" -c "import $module" 2>/dev/null || install_debian "$package"
    "$python" -c "import $module" 2>/dev/null || fail "$python has no module $module"
}

install_debian() {
    command -v apt-get >/dev/null || fail "these are missing: $*"
    [[ $(id -u) == 0 ]] || fail "Debian packages are missing; as root: apt-get install $*"
    echo "Installing Debian packages: $*" >&2
    local try
    for try in 1 2 3; do
        if { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"; } >/tmp/primus-apt.log 2>&1; then
            return
        fi
        sleep $((try * 5))
    done
    tail -n 20 /tmp/primus-apt.log >&2
    fail "apt-get could not install $*"
}

# The pins, with the machine's own torch in the place of ours.
write_constraints() {
    local version=${1%% *}
    if [[ -n $version ]]; then
        { sed '/^torch==/d' constraints/cpu.txt; echo "torch==$version"; } >"$venv/constraints.txt"
    else
        cp constraints/cpu.txt "$venv/constraints.txt"
    fi
}

# --system-site-packages would do, but not where the interpreter is itself in a virtual environment, as in AMD's images.
show_packages_of() {
    local target
    target=$("$venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')/base-packages.pth
    "$1" -c 'import site; print(*(f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()), sep="\n")' >"$target"
}

install() {
    local try
    for try in 1 2 3; do
        if PIP_ROOT_USER_ACTION=ignore "$venv/bin/python" -m pip install --no-input --disable-pip-version-check \
            --constraint "$venv/constraints.txt" --editable '.[dev]' >"$log" 2>&1; then
            return
        fi
        sleep $((try * 2))
    done
    grep -v '^WARNING: Location' "$log" | tail -n 30 >&2
    fail "pip could not install Primus; all of its output is in $log"
}

check_torch() {
    local now
    now=$(torch_of "$venv/bin/python")
    [[ -n $now ]] || fail "torch did not get installed; see $log"
    [[ -z $1 || $now == "$1" ]] || fail "this machine's torch ($1) would be replaced by $now; see $log"
}

fail() {
    echo "setup: $*" >&2
    exit 1
}

main
