#!/usr/bin/env bash
# Runs tgstore. See `usage` below, or scripts/run.sh --help.
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

usage() {
  cat <<'END'
usage: scripts/run.sh [--journey] | scripts/run.sh [mitmdump options]

Without a config.toml in the current folder: a try-out on this machine, no account needed.
It starts a stand-in for Telegram, a sample bucket with a few pictures, and tgstore in front of them, then
prints the commands to try. Ctrl-C stops everything.

  --journey   the same, and then it plays the whole story by itself with real clients, step by step
              (also where there is a config.toml, which it does not touch)
  --help      this text

With a config.toml in the current folder: the real thing. mitmdump runs with the addon, in front of the first
bucket's endpoint; further options go to mitmdump. For example:

  scripts/run.sh --listen-port 443 --certs '*=/etc/ssl/private/s3.example.com.pem'
  scripts/run.sh --mode regular --listen-port 3128

PYTHON=/path/to/python3 chooses the interpreter for the first installation.
END
}

case "${1:-}" in -h | --help) usage; exit 0 ;; esac

"$project/scripts/setup.sh"
bin="$project/.venv/bin"

if [ "${1:-}" = --journey ] || [ ! -e config.toml ]; then
  exec "$bin/python" "$project/scripts/journey.py" "$@"
fi

mode=()
case " $* " in
  *" --mode"* | *" -m "*) ;;
  *)
    endpoint="$("$bin/python" -c 'import tomllib; print(tomllib.load(open("config.toml", "rb"))["buckets"][0]["origin"]["endpoint"])' 2>/dev/null || true)"
    # Without a readable endpoint the addon itself says what is wrong with the settings, and stops.
    if [ -n "$endpoint" ]; then mode=(--mode "reverse:$endpoint"); fi
    ;;
esac
exec "$bin/mitmdump" -s "$project/addon/tgstore.py" --flow-detail 0 "${mode[@]}" "$@"
