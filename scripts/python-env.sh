#!/bin/sh
# Makes the Python environment of the interoperability tests, once per version of requirements.txt.
# GLOVEBOX_VENV chooses another place than ~/.cache/glovebox/venv.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${GLOVEBOX_VENV:-$HOME/.cache/glovebox/venv}
if cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    exit 0
fi
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    echo "python3 with its venv module is missing" >&2
    echo "hint: apt-get install python3-venv" >&2
    exit 1
fi
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
cp "$here/requirements.txt" "$venv/requirements.txt"
