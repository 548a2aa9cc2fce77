#!/usr/bin/env bash
# Runs everything: makes the environments where they are missing, checks the code, then the whole test suite under
# the first Python, and beside it, but for what is slow, what depends on the generation of Python and mitmproxy under the second one.
# With arguments only what they choose, one run after the other: scripts/test.sh -k sigv4
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

if [ "$#" -gt 0 ]; then
  failed=0
  run_tests .venv "$@" || failed=1
  if [ -x .venv-alt/bin/mitmdump ]; then run_tests .venv-alt -p no:cacheprovider -m "both_generations or not (end_to_end or slow)" "$@" || failed=1; fi
  exit "$failed"
fi

# Four runs side by side, as most tests wait more than they compute; their output follows when all have ended. Under the second
# generation only what depends on one: not the pure parts, the stand-in, the commands and the store, and of the object service what
# is most of it.
declare -A runs=()
begin() { # begin NAME ENVIRONMENT ARGUMENT…
  local name=$1; shift
  run_tests "$@" > ".lab/test-$name.log" 2>&1 &
  runs[$name]=$!
}
trap 'kill "${runs[@]}" 2>/dev/null || true' EXIT
begin processes .venv -p no:cacheprovider tests/end_to_end
begin services .venv -p no:cacheprovider tests/service
begin parts .venv --ignore tests/end_to_end --ignore tests/service
if [ -x .venv-alt/bin/mitmdump ]; then
  begin second .venv-alt -p no:cacheprovider -m "both_generations or not (end_to_end or slow)" \
    tests/end_to_end tests/index tests/origin tests/proxy tests/telegram \
    tests/service/test_{app,authorize,body,multipart,objects,reads,server,telegram_faults,write_history}.py
else
  echo "test: no second generation of Python here, its tests are skipped"
fi
failed=0
for name in "${!runs[@]}"; do
  wait "${runs[$name]}" || failed=1
  cat ".lab/test-$name.log"
done
trap - EXIT
exit "$failed"
