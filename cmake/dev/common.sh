# Shared by the verbs of ./dev: messages, folders, locks. Sourced, never run.
# shellcheck shell=bash

readonly kUsage=2 kPreflight=3

# Clones of this repository share compiled objects, wherever they lie.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

say() { printf 'dev: %s\n' "$*"; }
fail() { printf 'dev: %s\n' "$*" >&2; exit 1; }
usage_error() { printf 'dev: %s\n' "$*" >&2; exit "$kUsage"; }
# One sentence: what the machine lacks, and what to do.
lacks() { printf 'dev: %s\n' "$*" >&2; exit "$kPreflight"; }

cache_folder() { printf '%s\n' "${RONDO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rondo}"; }
jobs() { printf '%s\n' "${RONDO_JOBS:-$(nproc)}"; }

# run_setup ARGUMENTS...: a verb's own set-up. In a subshell, so that its functions stay apart.
run_setup() { (source cmake/dev/setup.sh && setup --quiet "$@"); }

# attempt COMMAND...: runs it in a subshell that stops at its first error, and leaves its status in attempt_status.
# (Behind `||` or `if` bash would not stop there.)
# shellcheck disable=SC2034  # read by the caller
attempt() {
  set +e
  (set -e; "$@")
  attempt_status=$?
  set -e
}
