# shellcheck shell=bash
# Every check and every test, the quick ones first. The last is ctest over everything, with its closing line.

verb_test() {
  local log=$tree/build/log
  # The tests have stacks of their own, whatever this shell knows of another.
  unset TOCSIN_HOME TOCSIN_PORT_BASE TOCSIN_CONFIG KAFKA_BROKERS DATABASE_URL REDIS_URL
  require_packages test
  mkdir -p "$log"
  cd "$tree"
  step "checking the format" "$log/format.log" check_format
  step "checking the shell scripts" "$log/shellcheck.log" check_scripts
  step "building with gcc" "$log/dev.log" build_preset dev
  step "building and checking the page" "$log/page.log" build_page
  step "clang-tidy" "$log/tidy.log" check_tidy
  step "tests with address and undefined sanitizers" "$log/asan.log" test_preset asan
  step "tests with the thread sanitizer" "$log/tsan.log" test_preset tsan
  step "fuzzing each parser for a moment" "$log/fuzz.log" test_preset fuzz
  grep '^tried by ' build/asan/Testing/Temporary/LastTest.log || true
  say "all tests"
  # One more than there are cores: most of them wait most of the time.
  exec ctest --preset dev "-j$(($(nproc) + 1))"
}

check_format() {
  find common ingest processor notifier learner console tests -name node_modules -prune -o -name '*.[ch]' -print0 |
    xargs -0 -r clang-format --dry-run -Werror
}

check_scripts() {
  shellcheck -x -P SCRIPTDIR deploy/dev deploy/migrate deploy/kafka/pin .ci/run
}

# Of the compiler's commands alone: clang's own warnings are those of the sanitizers' builds. Ends at the first file with a
# finding, so that the finding is the end of the log.
check_tidy() {
  cmake --preset clang
  jq -r '.[].file' build/clang/compile_commands.json | sort -u |
    xargs -r -n 1 -P "$(nproc)" sh -c 'echo "$1"; clang-tidy -p build/clang --quiet "$1" 2>/dev/null || exit 255' sh
}

build_preset() {
  cmake --preset "$1"
  cmake --build --preset "$1" "-j$(nproc)"
}

test_preset() {
  build_preset "$1"
  ctest --preset "$1" "-j$(nproc)"
}
