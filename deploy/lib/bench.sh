# shellcheck shell=bash
# The benchmark: tests/bench/bench.py on what is built here.

verb_bench() {
  local log=$tree/build/log
  # Its stack is its own, whatever this shell knows of another.
  unset TOCSIN_CONFIG KAFKA_BROKERS DATABASE_URL REDIS_URL
  require_packages test
  mkdir -p "$log"
  cd "$tree"
  [[ -e $bin/build.ninja ]] || step "configuring" "$log/bench.log" cmake --preset dev
  step "building" "$log/bench.log" cmake --build --preset dev "-j$(nproc)" \
    --target tocsin-bench-load tocsin-bench-sink tocsin-bench-ceiling
  exec /usr/bin/python3 -B tests/bench/bench.py "$@"
}
