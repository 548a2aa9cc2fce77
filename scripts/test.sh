#!/usr/bin/env bash
# Runs everything: makes the environments where they are missing, checks the code, then the whole test suite under
# the first Python, and beside it what depends on the generation of Python and mitmproxy under the second one.
# Arguments go to pytest, for example: scripts/test.sh -k sigv4
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh --both
scripts/setup-lab.sh
scripts/check

run_tests() { # run_tests ENVIRONMENT ARGUMENT…; "no test selected" (5) is no failure when arguments chose so
  local environment=$1 status=0; shift
  echo "test: $environment, $("$environment/bin/python" --version), $("$environment/bin/mitmdump" --version | sed -n 1p)"
  "$environment/bin/python" -m pytest -rs "$@" || status=$?
  [ "$status" = 5 ] && status=0
  return "$status"
}

# The second generation runs beside the first, as most tests keep one core busy; its output follows when both have ended.
second=""
if [ -x .venv-alt/bin/mitmdump ]; then
  run_tests .venv-alt -p no:cacheprovider -m "not end_to_end or both_generations" "$@" > .lab/test-alt.log 2>&1 &
  second=$!
  trap 'kill "$second" 2>/dev/null || true' EXIT
fi
failed=0
run_tests .venv "$@" || failed=1
if [ -n "$second" ]; then
  wait "$second" || failed=1
  trap - EXIT
  cat .lab/test-alt.log
else
  echo "test: no second generation of Python here, its tests are skipped"
fi
exit "$failed"
