# shellcheck shell=bash
# What people see while they wait: one line per step, with the time since the start, and a sign of life every ten
# seconds of a long one.

say() {
  printf '[%4ss] %s\n' "$SECONDS" "$*"
}

die() {
  printf 'deploy/dev: %s\n' "$*" >&2
  exit 1
}

fail_with_log() {
  printf -- '---- the end of %s\n' "$2" >&2
  tail -n 20 "$2" >&2 || true
  die "$1"
}

is_one_of() {
  local it=$1 one
  shift
  for one; do
    [[ $one != "$it" ]] || return 0
  done
  return 1
}

# step WHAT LOG COMMAND...: run it with its output in LOG; when it fails, show the end of LOG and give up. COMMAND keeps
# our locks: should we be killed, the next deploy/dev waits for its end.
step() {
  local what=$1 log=$2 rc
  shift 2
  say "$what"
  heartbeat "$log" &
  heart=$!
  # Not in an `if` or before `||`, which would switch `set -e` off inside the command.
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  rc=$?
  set -e
  stop_heartbeat
  ((rc == 0)) || fail_with_log "$what: failed with status $rc" "$log"
}

heartbeat() {
  local pause=''
  exec 8>&- 9>&-
  trap 'kill $pause 2>/dev/null; exit' TERM
  while true; do
    sleep 10 &
    pause=$!
    wait "$pause"
    kill -0 "$$" 2>/dev/null || exit 0
    printf '[%4ss]   still at it: %s\n' "$SECONDS" "$(tail -n 1 "$1" 2>/dev/null | tr -d '\r\033' | cut -c1-100)"
  done
}

heart=''
stop_heartbeat() {
  [[ -n $heart ]] || return 0
  kill "$heart" 2>/dev/null || true
  wait "$heart" 2>/dev/null || true
  heart=''
}
trap stop_heartbeat EXIT
