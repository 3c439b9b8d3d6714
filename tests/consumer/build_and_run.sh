#!/usr/bin/env bash
# build_and_run.sh SOURCE BUILD: installs BUILD, takes the program out of README.md, builds it against the installed
# package in a project of its own, and runs it on two ranks with the installed launcher.
set -euo pipefail
source_dir=$1 build_dir=$2
here=$source_dir/tests/consumer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build_dir" --prefix "$work/prefix" >"$work/install.log" || { cat "$work/install.log"; exit 1; }

# The one C++ block of README.md that includes rondo/rondo.h.
awk '/^```cpp$/ {inside = 1; text = ""; next}
     /^```$/ {if (inside && index(text, "#include <rondo/rondo.h>")) {printf "%s", text; found++} inside = 0; next}
     inside {text = text $0 "\n"}
     END {exit found == 1 ? 0 : 1}' "$source_dir/README.md" >"$work/mine.cc" || { echo "README.md must hold exactly one program"; exit 1; }

generator=() launcher=()
command -v ninja >/dev/null && generator=(-G Ninja)
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake -S "$here/project" -B "$work/build" "${generator[@]}" "${launcher[@]}" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_PREFIX_PATH="$work/prefix" -DMINE_SOURCE="$work/mine.cc"
cmake --build "$work/build"

cd "$work"
"$work/prefix/bin/rondo" run --nproc-per-node 2 "$work/build/mine" | tee "$work/output"

# 3 epochs of 1000 samples, shared by two ranks; equal replicas; and it learned.
mapfile -t lines < <(grep -o 'consumer: .*' "$work/output")
[ "${#lines[@]}" -eq 2 ] || { echo "two ranks must report, ${#lines[@]} did"; exit 1; }
[ "${lines[0]}" = "${lines[1]}" ] || { echo "the replicas differ: ${lines[*]}"; exit 1; }
[[ ${lines[0]} =~ ^consumer:\ ([0-9]+)\ samples,\ parameters\ [0-9a-f]+,\ right\ ([0-9]+)$ ]] || { echo "not understood: ${lines[0]}"; exit 1; }
[ "${BASH_REMATCH[1]}" -eq 1500 ] || { echo "each rank must see 1500 samples, not ${BASH_REMATCH[1]}"; exit 1; }
[ "${BASH_REMATCH[2]}" -ge 900 ] || { echo "only ${BASH_REMATCH[2]} of 1000 right after training"; exit 1; }
[ -d runs/latest ] || { echo "rondo run left no run folder"; exit 1; }
echo "consumer: passed"
