#!/usr/bin/env bash
# setup_states.sh SOURCE: what ./dev setup says of a machine in several states. Nothing is fetched.
set -euo pipefail
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=0

# says STATUS WORDS COMMAND...
says() {
  local status=$1 words=$2 got=0 output
  shift 2
  output=$(unset RONDO_LIBTORCH; "$@" 2>&1) || got=$?
  if [ "$got" -eq "$status" ] && grep -qF -- "$words" <<<"$output"; then echo "ok: $words"
  else echo "expected status $status and '$words', got $got: $output"; wrong=1; fi
}

empty=$work/empty half=$work/half whole=$work/whole comm=$work/comm
mkdir -p "$empty" "$half/libtorch/torch/lib" "$half/libtorch.partial/tree" "$whole/libtorch/torch/lib"
touch "$half/libtorch/torch/lib/libtorch_cpu.so"
grep -v '^#' wheels.txt | sha256sum | cut -d ' ' -f 1 >"$whole/libtorch/.rondo-wheels"

says 3 "missing: LibTorch" env RONDO_CACHE="$empty" ./dev setup --check
says 3 "missing: LibTorch" env RONDO_CACHE="$half" ./dev setup --check           # files without the stamp
says 0 "nothing is missing" env RONDO_CACHE="$whole" ./dev setup --check
echo other >"$whole/libtorch/.rondo-wheels"
says 3 "missing: LibTorch" env RONDO_CACHE="$whole" ./dev setup --check          # other wheels than these
says 3 "holds no lib/libtorch_cpu.so" env RONDO_CACHE="$empty" RONDO_LIBTORCH=/nowhere bash -c 'RONDO_LIBTORCH=/nowhere ./dev setup'
says 0 "take comm alone" env RONDO_CACHE="$comm" ./dev setup --comm-only         # needs no LibTorch
says 2 "set up without LibTorch: comm alone" env RONDO_CACHE="$comm" ./dev test --oops
says 2 "unknown argument '--chekc'" ./dev setup --chekc
says 2 "unknown verb 'tset'" ./dev tset
mkdir "$work/unwritable" && touch "$work/unwritable/file"
says 3 "set RONDO_CACHE to a folder of yours" env RONDO_CACHE="$work/unwritable/file/below" ./dev setup
[ -z "$(ls -A "$empty")" ] || { echo "a set-up that fetched nothing left $(ls -A "$empty")"; wrong=1; }
[ "$(ls -A "$comm")" = comm-only ] || { echo "a set-up of comm that fetched nothing left $(ls -A "$comm")"; wrong=1; }
exit "$wrong"
