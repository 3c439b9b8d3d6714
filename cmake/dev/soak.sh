# ./dev soak: tests whose count is small in CI, run with their full count. Sourced by ./dev.
# shellcheck shell=bash
#
# A test takes its rounds from RONDO_SOAK_FIRST and RONDO_SOAK_COUNT (tests/support/soak.h), so a row is run in slices: an
# interrupted soak goes on with the slice that it was in. Finished rows become lines of results/soak.md; what the tests
# measured is merged over the slices (lines of print_samples).
source cmake/dev/build.sh

# A row: name, test program, filter of its tests, rounds, rounds a slice.
soak_rows() {
  cat <<'ROWS'
interleavings comm_interleavings_test Interleavings.EndInARightResultOrANamedErrorNeverInAHang 20000 2000
threads comm_sim_threads_test AsRanks/Threads.EndInRightResultsWithLateMessagesAndStalls/* 200 50
kills comm_drill_test Drill.EverySurvivorOfAKilledRankNamesRankProcessAndEvidence 500 50
large-kills comm_drill_test Drill.TheDeathOfALargeProcessIsSeenAsEarlyAsThatOfASmallOne 100 20
kill-matrix launcher_kill_matrix_test */KillMatrix.* 20 5
same-bits comm_same_bits_test Worlds/SameBits.AsTheReferenceInEveryCanonicalWay/* 500 50
huge comm_huge_test TwoRanks/Huge.* 2 1
chatter launcher_many_ranks_test ManyRanks.LinesAndBarsOfSixtyFourRanksStayWholeAndInOrder 9 3
link train_slow_link_test SlowLink.HidesTheWireBehindBackwardWithTheSameBits 9 3
ROWS
}

# verb_soak [--for 60m] [ROW...]
verb_soak() {
  local wanted=() until=0 row bad=0
  while [ $# -gt 0 ]; do
    case $1 in
      --for) [ $# -gt 1 ] || usage_error "soak: --for needs a time such as 90s, 60m or 8h"; until=$(seconds_of "$2") || exit; until=$((SECONDS + until)); shift ;;
      -*) usage_error "soak: unknown argument '$1'; use --for TIME and names of rows" ;;
      *) soak_rows | grep -q "^$1 " || usage_error "soak: there is no row '$1'; rows: $(soak_rows | cut -d' ' -f1 | xargs)"; wanted+=("$1") ;;
    esac
    shift
  done
  [ ${#wanted[@]} -gt 0 ] || mapfile -t wanted < <(soak_rows | cut -d' ' -f1)
  for row in "${wanted[@]}"; do
    # shellcheck disable=SC2046  # the fields of a row are words
    soak_row "$until" $(soak_rows | grep "^$row ") || bad=1
  done
  [ "$bad" -eq 0 ] || fail "soak: not every row is whole and good, see above"
}

# "90s", "60m", "8h" or a number of seconds.
seconds_of() {
  case $1 in
    *[!0-9smh]* | '' | [smh]*) usage_error "soak: '$1' is no time; write 90s, 60m or 8h" ;;
    *h) echo $((${1%h} * 3600)) ;;
    *m) echo $((${1%m} * 60)) ;;
    *) echo $((${1%s})) ;;
  esac
}

# soak_row UNTIL NAME PROGRAM FILTER COUNT SLICE: status 1 when a slice failed or the time was over.
soak_row() {
  local until=$1 name=$2 program=$3 filter=$4 count=$5 slice=$6
  local commit state first=0 seconds=0 began size log
  commit=$(git describe --always --dirty --abbrev=12)
  state=build/soak/$commit/$name
  case $commit in *-dirty) rm -rf "$state" ;; esac   # another tree may have the same name
  mkdir -p "$state" results
  [ ! -e "$state/progress" ] || read -r first seconds <"$state/progress"
  build ci "$program" >"$state/build.log" 2>&1 || { tail -n 20 "$state/build.log" >&2; fail "soak: $program does not build"; }
  while [ "$first" -lt "$count" ]; do
    if [ "$until" -gt 0 ] && [ "$SECONDS" -ge "$until" ]; then
      say "soak: $name: $first of $count, the time is over; \`./dev soak $name\` goes on"
      return 1
    fi
    size=$((count - first < slice ? count - first : slice)) began=$SECONDS log=$state/$first.log
    if ! RONDO_SOAK_FIRST=$first RONDO_SOAK_COUNT=$size "build/ci/bin/$program" --gtest_filter="$filter" >"$log" 2>&1; then
      cp "$log" "results/soak-$name-$first.log"
      soak_line "$commit" "$name" "$first of $count" "FAILED in results/soak-$name-$first.log" $((seconds + SECONDS - began)) "$state"
      say "soak: $name: FAILED in rounds $first to $((first + size - 1)), see results/soak-$name-$first.log"
      return 1
    fi
    first=$((first + size)) seconds=$((seconds + SECONDS - began))
    echo "$first $seconds" >"$state/progress"
    say "soak: $name: $first of $count, $seconds s"
  done
  if [ ! -e "$state/reported" ]; then
    soak_line "$commit" "$name" "$count" passed "$seconds" "$state"
    touch "$state/reported"
  fi
  say "soak: $name: $count passed in $seconds s"
  soak_figures "$state" | sed 's/^/  /'
}

# soak_line COMMIT ROW COUNT RESULT SECONDS STATE: one line of the table.
soak_line() {
  local machine
  machine="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
  [ -e results/soak.md ] || printf '%s\n' '| commit | machine | row | count | result | seconds | figures |' '|---|---|---|---|---|---|---|' >results/soak.md
  printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$1" "$machine" "$2" "$3" "$4" "$5" "$(soak_figures "$6" | paste -s -d ';')" >>results/soak.md
}

soak_figures() { /usr/bin/python3 cmake/dev/soak_figures.py "$1"/*.log; }
