#!/bin/sh
# Installs what is missing on Debian 12 or its like: `deps.sh demo` for the demo, `deps.sh test` for the tests as well.
# Where there is no permission it says what to install, and changes nothing.
set -eu

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

# Rust
if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
    fail "cargo is installed, but not on the search path" ". \"\$HOME/.cargo/env\", then again"
fi
if ! command -v cargo >/dev/null 2>&1 || ! command -v rustc >/dev/null 2>&1; then
    fail "Rust 1.95 or later is missing" "install it with rustup (https://rustup.rs), then open a new shell; Debian's own is too old"
fi
version=$(rustc --version | cut -d ' ' -f 2 | cut -d - -f 1)
oldest=$(printf '1.95.0\n%s\n' "$version" | sort -V | head -n 1)
if [ "$oldest" != 1.95.0 ]; then
    fail "Rust $version is too old; 1.95 or later is needed" "rustup update stable"
fi

# System packages: the program that shows one is there, and its name.
missing=
need() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/bin/$1" ] || missing="$missing $2"
}
need cc build-essential
need make build-essential
need swtpm swtpm
need swtpm_setup swtpm-tools
if [ "${1:-test}" = test ]; then
    need age age
    need tpm2_checkquote tpm2-tools
    python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
fi
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
missing=${missing% }

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null 2>&1 ||
        fail "missing: $missing" "install these (Debian's names) with this system's package manager, then again"
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        as_root=sudo
    else
        fail "missing, and there is no permission to install: $missing" "ask an administrator: apt-get install $missing"
    fi
    echo "installing: $missing" >&2
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
fi

if [ "${1:-test}" = test ]; then
    exec "$(dirname "$0")/python-env.sh"
fi
