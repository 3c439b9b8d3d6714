/// What all ranks agreed to do with a step.
#pragma once

#include <cstdint>

namespace rondo::trainer {

enum class Verdict : uint8_t {
  kApply,
  kSkip,  // some rank's backward failed
};

}  // namespace rondo::trainer
