# ./dev ci: what must pass before a change is merged, in one go, with the seconds of each part. Sourced by ./dev.
# shellcheck shell=bash
source cmake/dev/lint.sh
source cmake/dev/test.sh

verb_ci() {
  [ $# -eq 0 ] || usage_error "ci takes no argument"
  ci_report=() ci_bad=0
  part "set-up" run_setup --tier train --tier test --tier lint
  part "format" verb_fmt --check
  part "arrows" verb_layers
  part "house rules" /usr/bin/python3 cmake/house_rules.py
  part "shellcheck" lint_scripts
  part "clang-tidy" lint_tidy ''
  part "build" build ci
  part "headers" cmake --build build/ci -j "$(jobs)" --target all_verify_interface_header_sets
  part "tests" run_tests ci
  part "training" ci_train
  part "tsan" verb_test tsan
  printf 'dev: seconds of each part\n'
  printf '  %s\n' "${ci_report[@]}" "$(printf '%5d s  all' "$SECONDS")"
  /usr/bin/python3 cmake/dev/count_tests.py build/ci/tests.xml build/tsan/tests.xml || ci_bad=1
  [ "$ci_bad" -eq 0 ] || fail "ci found the above"
}

# part NAME COMMAND...: a failure is reported and the rest still runs, except without a build.
part() {
  local name=$1 began=$SECONDS verdict=passed
  shift
  say "== $name"
  attempt "$@"
  [ "$attempt_status" -eq 0 ] || { verdict=FAILED; ci_bad=1; }
  ci_report+=("$(printf '%5d s  %-12s %s' $((SECONDS - began)) "$name" "$verdict")")
  if [ "$verdict" = FAILED ]; then
    case $name in set-up | build) fail "ci: $name failed, nothing after it can run" ;; esac
  fi
}

# One epoch on real data, two ranks: the shortest run that shows that training works.
ci_train() {
  local runs accuracy
  runs=$(mktemp -d)
  build/ci/bin/rondo train fmnist-cnn --nproc-per-node 2 --run-dir "$runs/run" epochs=1 threads=1 || { rm -rf "$runs"; return 1; }
  accuracy=$(/usr/bin/python3 -c 'import json, sys; s = json.load(open(sys.argv[1])); print(s["test_correct"] * 10000 // s["test_samples"], 1 if s["params_equal"] else 0)' "$runs/run/summary.json")
  rm -rf "$runs"
  case $accuracy in
    *' 1') [ "${accuracy% *}" -ge 8600 ] || { say "fmnist-cnn: ${accuracy% *} of 10000 right after one epoch, at least 8600 are expected"; return 1; } ;;
    *) say "fmnist-cnn: the replicas' parameters differ"; return 1 ;;
  esac
}
