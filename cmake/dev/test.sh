# ./dev test, asan, tsan and parity. Sourced by ./dev.
# shellcheck shell=bash
source cmake/dev/build.sh

# verb_test PRESET [-L LABEL] [-R REGEX]: builds PRESET and runs its tests.
verb_test() {
  local preset=$1 filter=()
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      -L | -R) [ $# -gt 1 ] || usage_error "$preset: $1 needs a value"; filter+=("$1" "$2"); shift ;;
      *) usage_error "unknown argument '$1'; use -L LABEL or -R REGEX" ;;
    esac
    shift
  done
  [ "$preset" != ci ] || run_setup --tier lint   # the tests of the checks need their tools
  build "$preset"
  run_tests "$preset" "${filter[@]}"
}

# Runs the tests of a built preset; the last line counts them, the reasons of skips stand above it.
run_tests() {
  local preset=$1 report status=0
  shift
  report=$PWD/build/$preset/tests.xml
  rm -f "$report"
  # A finding of a sanitizer ends the program with an error of its own.
  ASAN_OPTIONS="${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}" \
    UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}" TSAN_OPTIONS="${TSAN_OPTIONS:-second_deadlock_stack=1}" \
    ctest --test-dir "build/$preset" -j "$(nproc)" --output-on-failure --no-tests=error --output-junit "$report" "$@" 2>&1 |
    tee "build/$preset/tests.log" | show_progress || status=$?
  [ -e "$report" ] || { tail -n 20 "build/$preset/tests.log" >&2; fail "ctest stopped early with status $status, see build/$preset/tests.log"; }
  /usr/bin/python3 cmake/dev/count_tests.py "$report"
}

# Shows failures as they come, with what they printed, and each fiftieth test, so that a long run is seen to move.
show_progress() {
  awk '/^ *[0-9]+\/[0-9]+ Test +#/ {done++; failing = /\*\*\*/ && !/\*\*\*Skipped/; if (done % 50 == 0) print "  " $1 " tests"}
       failing || /^No tests|^Errors|^CMake Error/ {print} {fflush()}'
}

verb_parity() {
  local script passed=0 failed=0 python programs
  run_setup --pytorch
  # The rows of ddp.py are shown by programs of the tests.
  mapfile -t programs < <(/usr/bin/python3 tests/parity/ddp.py --programs)
  build ci rondo rondo-train parity_worker "${programs[@]}"
  python=$(cache_folder)/pytorch/bin/python
  for script in tests/parity/*.py; do
    [ -e "$script" ] || fail "there is no script in tests/parity"
    say "$script"
    if RONDO_BIN=$PWD/build/ci/bin "$python" "$script"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  done
  printf 'tests: %d passed, %d failed, 0 skipped\n' "$passed" "$failed"
  [ "$failed" -eq 0 ]
}
