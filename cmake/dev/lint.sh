# ./dev lint, layers and fmt. Sourced by ./dev.
# shellcheck shell=bash
# shellcheck source=cmake/dev/common.sh

sources() { git ls-files -co --exclude-standard --deduplicate -- "${@:-*.h}" | while read -r file; do [ ! -e "$file" ] || printf '%s\n' "$file"; done; }
scripts() { printf '%s\n' dev .ci/run; sources '*.sh' '*.bats' '*.sbatch'; }

verb_fmt() {
  local mode=-i files
  case ${1:-} in
    '') ;;
    --check) mode='--dry-run -Werror' ;;
    *) usage_error "fmt: unknown argument '$1'; use --check" ;;
  esac
  run_setup --tier lint
  mapfile -t files < <(sources '*.h' '*.cc')
  # shellcheck disable=SC2086  # two words on purpose
  clang-format-16 $mode "${files[@]}" || fail "format: run \`./dev fmt\`"
}

verb_layers() {
  [ $# -eq 0 ] || usage_error "layers takes no argument"
  run_setup --tier lint
  /usr/bin/python3 cmake/layers.py
}

# verb_lint [--all] [FILE...]: everything; or only the named files, without a build folder.
verb_lint() {
  local all='' files=()
  while [ $# -gt 0 ]; do
    case $1 in
      --all) all=1 ;;
      -*) usage_error "lint: unknown argument '$1'; use --all or names of files" ;;
      *) [ -e "$1" ] || usage_error "lint: there is no file $1"; files+=("$1") ;;
    esac
    shift
  done
  run_setup --tier lint
  if [ ${#files[@]} -gt 0 ]; then lint_files "${files[@]}"; return; fi
  local bad=0
  local check
  for check in "verb_fmt --check" "/usr/bin/python3 cmake/layers.py" "/usr/bin/python3 cmake/house_rules.py" lint_scripts "lint_tidy $all"; do
    # shellcheck disable=SC2086  # words on purpose
    attempt $check
    [ "$attempt_status" -eq 0 ] || bad=1
  done
  [ "$bad" -eq 0 ] || fail "lint found the above"
  say "lint: nothing found"
}

lint_files() {
  local bad=0 file
  clang-format-16 --dry-run -Werror "$@" || bad=1
  /usr/bin/python3 cmake/layers.py "$@" || bad=1
  /usr/bin/python3 cmake/house_rules.py "$@" || bad=1
  for file in "$@"; do
    clang-tidy-16 --quiet "$file" -- -std=c++20 -I. -Icomm/include -Itrainer/include 2>/dev/null || bad=1
  done
  [ "$bad" -eq 0 ] || fail "lint found the above"
}

lint_scripts() {
  local files
  mapfile -t files < <(scripts)
  shellcheck -x "${files[@]}"
}

# clang-tidy on the sources without torch headers, and on a few changed ones with them; with an argument on everything.
lint_tidy() {
  local preset=torch-free files changed=()
  source cmake/dev/build.sh
  mapfile -t files < <(sources 'comm/*.cc' 'launcher/*.cc')
  if [ -n "${1:-}" ]; then
    mapfile -t files < <(sources '*.cc')
    preset=ci
  else
    mapfile -t changed < <(changed_torch_files)
  fi
  tidy_files "$preset" "${files[@]}"
  [ ${#changed[@]} -eq 0 ] || tidy_files ci "${changed[@]}"
}

# tidy_files PRESET FILE...
tidy_files() {
  local preset=$1
  shift
  case $preset in
    torch-free) run_setup --tier launcher --tier test ;;
    *) run_setup --tier train --tier test ;;
  esac
  configure "$preset" >/dev/null
  cmake --build "build/$preset" -j "$(jobs)" --target rondo_proto rondo_control_proto rondo_commit_header >/dev/null   # their headers are generated
  printf '%s\0' "$@" | xargs -0 -n 2 -P "$(jobs)" clang-tidy-16 --quiet -p "build/$preset" --extra-arg=-Wthread-safety 2>/dev/null
}

# Sources of the trainer that differ from the branch this one will be merged into. Each costs half a minute: at most four,
# the others are named and left to `./dev lint --all`.
changed_torch_files() {
  local base files
  base=$(git merge-base HEAD origin/HEAD 2>/dev/null) || return 0
  mapfile -t files < <({ git diff --name-only --diff-filter=d "$base" -- 'trainer/*.cc'; git ls-files -o --exclude-standard -- 'trainer/*.cc'; } | sort -u)
  printf '%s\n' "${files[@]:0:4}" | sed '/^$/d'
  [ ${#files[@]} -le 4 ] || say "left to ./dev lint --all: ${files[*]:4}" >&2
}
