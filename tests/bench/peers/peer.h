/// The main of every rival's driver: the sweep that measures Rondo, around another library.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "comm/bench/contender.h"
#include "comm/bench/ordinary_memory.h"
#include "comm/bench/request.h"

namespace rondo::bench {

/// A rival measures in ordinary memory.
class RivalContender : public Contender {
 public:
  comm::Result<std::span<std::byte>> memory(size_t byte_count) final {
    auto memory = OrdinaryMemory::allocate(byte_count);
    RONDO_TRY(memory);
    memory_ = *std::move(memory);
    return memory_.bytes();
  }

 private:
  OrdinaryMemory memory_;
};

/// Makes the contender of this process. Called once, when the process is bound to its cpu.
using MakeContender = std::function<comm::Result<std::unique_ptr<Contender>>(const Request& request)>;

/// `local_rank_variable`: where the rival's launcher says which process of this host it is.
int peer_main(int argc, char** argv, const char* local_rank_variable, const MakeContender& make);

}  // namespace rondo::bench
