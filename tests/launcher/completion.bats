#!/usr/bin/env bats
# The completion script in a real bash: the function is called as readline calls it, with the words already split at "=".
# RONDO_BIN is the folder of the programs under test. Here a stand-in answers for rondo-train: recipes need LibTorch.

setup() {
  folder=$(mktemp -d)
  cd "$folder" || return
  cat >trainer-stand-in <<'TRAINER'
#!/bin/sh
[ "$1" = --list ] || exit 2
echo 'fmnist-cnn  (vision.fmnist-cnn)'
echo '  a small CNN on Fashion-MNIST'
echo '    epochs=3                                    passes over the data (whole number, training)'
echo '    batch=64                                    samples of a rank (whole number, training)'
echo 'fmnist-mlp  (vision.fmnist-mlp)'
TRAINER
  chmod +x trainer-stand-in
  export RONDO_TRAIN=$folder/trainer-stand-in PATH=$RONDO_BIN:$PATH
  mkdir runs
  touch my_program notes.txt
  # shellcheck disable=SC1090
  source <(rondo completion bash)
}

teardown() { rm -rf "$folder"; }

# complete_words WORD...: what is offered for the last of them.
complete_words() {
  COMP_WORDS=(rondo "$@") COMP_CWORD=$#
  COMPREPLY=()
  set +e  # as in an interactive shell
  _rondo
  set -e
  mapfile -t COMPREPLY < <(printf '%s\n' "${COMPREPLY[@]}" | sort -u)
}

offers() { [ "${COMPREPLY[*]}" = "$*" ] || { echo "offered: ${COMPREPLY[*]}; expected: $*"; return 1; }; }
offers_among_others() { [[ " ${COMPREPLY[*]} " = *" $1 "* ]] || { echo "offered: ${COMPREPLY[*]}; missing: $1"; return 1; }; }

@test "bash has the function registered for rondo" {
  [[ $(complete -p rondo) = *"-F _rondo rondo" ]]
}

@test "verbs" {
  complete_words ru; offers run
  complete_words ""; for verb in $(rondo --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do offers_among_others "$verb"; done
}

@test "flags of every verb, each of which --help-all has" {
  for verb in $(rondo --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    complete_words "$verb" --
    [ "${#COMPREPLY[@]}" -gt 0 ]
    help=$(rondo "$verb" --help-all)
    for flag in "${COMPREPLY[@]}"; do [[ $help = *"$flag"* ]] || { echo "$verb: $flag is not in --help-all"; return 1; }; done
    # And the other way round: what the help lists is offered.
    mapfile -t listed < <(grep -oE '^  (-[a-z],)?--[a-z-]+' <<<"$help" | grep -oE -- '--[a-z-]+')
    for flag in "${listed[@]}"; do offers_among_others "$flag"; done
  done
}

@test "flags of bench train and bench start are their own" {
  complete_words bench train --mo; offers --models
  complete_words bench start --ca; offers --cases
  complete_words bench --ca; offers ""
}

@test "values of flags, after a space and after =" {
  complete_words run --prefix j; offers json
  complete_words run --prefix = j; offers json
  complete_words run --numa-binding ex; offers exclusive
  complete_words run --numa_binding ex; offers exclusive
  complete_words run -n ""; offers auto cpu gpu
  complete_words run --show f; offers failed first
  complete_words bench start --against t; offers torchrun
  complete_words bench --against o; offers openmpi
  complete_words run --run-dir r; offers runs
}

@test "recipes and their settings, as rondo-train lists them" {
  complete_words train fm; offers fmnist-cnn fmnist-mlp
  complete_words train fmnist-cnn ep; offers epochs=
  complete_words train --resume l; offers latest
}

@test "operations, algorithms and subcommands" {
  complete_words bench all_r; offers all_reduce
  complete_words bench st; offers start
  complete_words schedule hal; offers halving
  complete_words ckpt ex; offers export
}

@test "files and programs; behind the program its own words" {
  complete_words run ./my; offers ./my_program
  complete_words run -n 2 ./my_program no; offers notes.txt
  complete_words run -n 2 ./my_program --nproc; offers ""
}

@test "a trainer that is missing leaves the other words" {
  RONDO_TRAIN=$folder/none
  complete_words train no; offers notes.txt
}

@test "the script for zsh has no syntax error" {
  command -v zsh >/dev/null || skip "zsh is not installed"
  rondo completion zsh >_rondo
  zsh -n _rondo
}

@test "the script for fish has no syntax error" {
  command -v fish >/dev/null || skip "fish is not installed"
  rondo completion fish >rondo.fish
  fish --no-execute rondo.fish
}
