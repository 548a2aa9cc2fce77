#!/usr/bin/env bash
# Makes the Python environment: .venv, and with --both also .venv-alt, which holds the other generation
# (Python 3.11 brings mitmproxy 11, Python 3.12 or newer brings mitmproxy 12).
# Quick when nothing changed. PYTHON=/path/to/python3.x chooses the interpreter of a new .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Version shims may be in PATH and still not start, so every candidate is run before it counts.
works() { "$1" -c 'import ensurepip, sqlite3, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
minor() { "$1" -c 'import sys; print(sys.version_info.minor)'; }

find_python() { # find_python MINOR: the first interpreter of Python 3.MINOR that works
  local candidate
  for candidate in "python3.$1" "/usr/bin/python3.$1" "$HOME"/.pyenv/versions/3."$1"*/bin/python3."$1"; do
    if works "$candidate"; then command -v "$candidate"; return 0; fi
  done
  return 1
}

newest_of() { # newest_of MINOR…: in the order given
  local wanted
  for wanted in "$@"; do find_python "$wanted" && return 0; done
  return 1
}

make_environment() { # make_environment FOLDER PYTHON
  local folder=$1 python=$2 stamp wanted
  works "$folder/bin/python" || { echo "setup: $folder with $("$python" --version)"; rm -rf "$folder"; "$python" -m venv "$folder"; }
  stamp="$folder/.tgstore-installed"
  wanted="$(sha256sum < pyproject.toml) $PWD"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "setup: installing into $folder (about a minute the first time)"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]' > "$folder/pip.log" 2>&1 \
      || { tail -n 20 "$folder/pip.log" >&2; echo "setup: pip could not install into $folder" >&2; exit 1; }
    echo "$wanted" > "$stamp"
  fi
}

if works .venv/bin/python && [ -z "${PYTHON:-}" ]; then
  python=.venv/bin/python
else
  python="${PYTHON:-$(newest_of 13 12 14 11 || true)}"
  works "$python" || { echo "setup: no Python 3.11 or newer (with venv and ensurepip) found; set PYTHON=/path/to/python3.x" >&2; exit 1; }
  if works .venv/bin/python && [ "$(minor .venv/bin/python)" != "$(minor "$python")" ]; then rm -rf .venv; fi
fi
make_environment .venv "$python"

if [ "${1:-}" = --both ]; then
  if [ "$(minor .venv/bin/python)" = 11 ]; then other="$(newest_of 13 12 14 || true)"; else other="$(newest_of 11 || true)"; fi
  if [ -n "$other" ]; then
    make_environment .venv-alt "$other"
  else
    echo "setup: no second generation of Python here, so no .venv-alt"
  fi
fi
