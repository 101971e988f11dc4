# shellcheck shell=bash
# A stack of its own that is broken at random while senders go on: tests/chaos.

verb_chaos() {
  TOCSIN_HOME=${TOCSIN_HOME:-$tree/build/chaos}
  require_packages up
  find_home
  export TOCSIN_HOME=$home PYTHONDONTWRITEBYTECODE=1
  exec /usr/bin/python3 "$tree/tests/chaos/chaos.py" "$@"
}
