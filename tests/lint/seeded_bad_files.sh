#!/usr/bin/env bash
# seeded_bad_files.sh SOURCE: a small clean tree passes `./dev lint`; each bad file put into it is rejected, by name of
# the rule. Without the clean control every line below could "fail" for a reason of its own.
set -euo pipefail
source_dir=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cd "$source_dir"
cp -r --parents dev cmake .clang-format .clang-tidy .ci "$tree"
cd "$tree"
git init -q
mkdir -p comm/base comm/ring comm/schedule comm/sim comm/transport comm/include/rondo/comm trainer/gradient trainer/observe launcher/agent tests/comm
printf '/// Adds; here so that others can include it.\n#pragma once\n\nint add(int a, int b);\n' | tee comm/base/add.h comm/transport/add.h launcher/agent/add.h trainer/gradient/add.h >comm/include/rondo/comm/add.h
printf '/// Brings LibTorch in.\n#pragma once\n\n#include <ATen/core/Tensor.h>\n' >trainer/gradient/tensor.h
wrong=0 count=0

# lint_result FILE: what `./dev lint FILE` prints, its status in the last line.
lint_result() { ./dev lint "$1" 2>&1 && echo "status 0" || echo "status $?"; }

# rejects NAME FILE WORDS: the content on stdin, put into FILE, is rejected and the output holds WORDS.
rejects() {
  local name=$1 file=$2 words=$3 result
  cat >"$file"
  result=$(lint_result "$file")
  count=$((count + 1))
  if grep -q '^status 1$' <<<"$result" && grep -qF -- "$words" <<<"$result"; then echo "rejected: $name"
  else echo "NOT REJECTED AS '$words': $name"; echo "$result"; wrong=$((wrong + 1)); fi
  rm "$file"
}

cat >comm/schedule/clean.cc <<'X'
#include "comm/base/add.h"

namespace rondo::comm {

constexpr int kOffset = 3;

int shifted(int value) { return value + kOffset; }

}  // namespace rondo::comm
X
result=$(lint_result comm/schedule/clean.cc)
grep -q '^status 0$' <<<"$result" || { echo "the clean control is rejected: $result"; exit 1; }
rm comm/schedule/clean.cc

rejects "comm includes trainer" comm/base/a.cc "no arrow from trainer to comm" <<'X'
#include "trainer/gradient/add.h"
X
rejects "comm includes launcher" comm/base/a.cc "no arrow from launcher to comm" <<'X'
#include "launcher/agent/add.h"
X
rejects "trainer includes launcher" trainer/gradient/a.cc "no arrow from launcher to trainer" <<'X'
#include "launcher/agent/add.h"
X
rejects "launcher includes trainer" launcher/agent/a.cc "no arrow from trainer to launcher" <<'X'
#include "trainer/gradient/add.h"
X
rejects "trainer reaches into comm" trainer/gradient/a.cc "only through rondo/comm/" <<'X'
#include "comm/base/add.h"
X
rejects "schedule includes transport" comm/schedule/a.cc "no arrow from transport to schedule" <<'X'
#include "comm/transport/add.h"
X
rejects "sim includes group" comm/sim/a.cc "no arrow from group to sim" <<'X'
#include "comm/group/add.h"
X
rejects "a public header shows a private one" comm/include/rondo/comm/b.h "must not include the private" <<'X'
/// Shows what it should not.
#pragma once

#include "comm/base/add.h"
X
rejects "a part nobody named" comm/ring/a.cc "not in the list of parts" <<'X'
#include "comm/base/add.h"
X
rejects "LibTorch in comm" comm/base/a.cc "LibTorch (ATen/core/Tensor.h) belongs to" <<'X'
#include <ATen/core/Tensor.h>
X
rejects "Protobuf in a part of trainer that may not" trainer/gradient/a.cc "Protobuf (google/protobuf/message.h) belongs to" <<'X'
#include <google/protobuf/message.h>
X
rejects "gRPC in the trainer" trainer/observe/a.cc "gRPC (grpcpp/grpcpp.h) belongs to" <<'X'
#include <grpcpp/grpcpp.h>
X
rejects "gRPC in the launcher outside its control plane" launcher/agent/a.cc "gRPC (proto/control.grpc.pb.h) belongs to" <<'X'
#include "proto/control.grpc.pb.h"
X
rejects "LibTorch meets Protobuf through another header" trainer/observe/a.cc "meets Protobuf" <<'X'
#include "proto/worker.pb.h"
#include "trainer/gradient/tensor.h"
X
rejects "torch.h outside recipes and tests" trainer/gradient/a.cc "costs 30 s a file" <<'X'
#include <torch/torch.h>
X
rejects "format" comm/base/a.cc "clang-format" <<'X'
int  add( int a,int b ){return a+b;}
X
rejects "a defect that clang-tidy sees" comm/base/a.cc "performance-unnecessary-value-param" <<'X'
#include <string>

int length(std::string text) { return static_cast<int>(text.size()); }
X
rejects "a name that clang-tidy refuses" comm/base/a.cc "readability-identifier-naming" <<'X'
int AddOne(int value) { return value + 1; }
X
rejects "a file above 600 lines" comm/base/a.cc "length: 601 lines" < <(for ((i = 0; i < 601; ++i)); do echo "// $i"; done)
rejects "a macro without prefix" comm/base/a.h "macro: #define CHECK" <<'X'
/// Takes a name that LibTorch has.
#pragma once

#define CHECK(x) (x)
X
rejects "a header without #pragma once" comm/base/a.h "#pragma once is missing" <<'X'
/// Included twice, this breaks.
int add(int a, int b);
X
rejects "a header that says nothing" comm/base/a.h "opens with what it is" <<'X'
#pragma once
X
rejects "a disabled test" tests/comm/a_test.cc "disabled test: DISABLED_Adds" <<'X'
int DISABLED_Adds = 1;
X
rejects "comm throws" comm/base/a.cc "comm is silent: throw" <<'X'
int refuse() { throw 1; }
X
rejects "a fence" comm/base/a.cc "fence: atomic_thread_fence" <<'X'
#include <atomic>

void order() { std::atomic_thread_fence(std::memory_order_acquire); }
X
rejects "a sleep" launcher/agent/a.cc "sleep: sleep_for" <<'X'
#include <chrono>
#include <thread>

void rest() { std::this_thread::sleep_for(std::chrono::seconds(1)); }
X

# whole_tree WORDS COMMAND...: fails and prints WORDS.
whole_tree() {
  local words=$1 result
  shift
  result=$("$@" 2>&1 && echo "status 0" || echo "status $?")
  count=$((count + 1))
  if grep -q '^status 1$' <<<"$result" && grep -qF -- "$words" <<<"$result"; then echo "rejected: $*"
  else echo "$* DID NOT FAIL WITH '$words'"; echo "$result"; wrong=$((wrong + 1)); fi
}

# The verbs over the whole tree find the same.
echo '#include "trainer/gradient/add.h"' >comm/base/a.cc
whole_tree 'comm/base/a.cc:1: arrow' ./dev layers
echo 'int  a;' >comm/base/a.cc
whole_tree 'comm/base/a.cc' ./dev fmt --check
# shellcheck disable=SC2016  # the seeded fault
printf '#!/usr/bin/env bash\nrm $1\n' >cmake/dev/bad.sh
whole_tree 'SC2086' ./dev lint

echo "$count seeded files, $wrong not rejected"
[ "$wrong" -eq 0 ]
