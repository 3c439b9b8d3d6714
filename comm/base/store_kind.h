/// How a kernel stores: through the caches or past them. Never a question of bits. Which is faster where peers read
/// what is stored depends on the machine, so it is timed: see comm/collective/probe.h.
#pragma once

#include <cstdint>
#include <string_view>

namespace rondo::comm {

/// kNonTemporal goes past the caches: for results that this core will not read soon.
enum class StoreKind : uint8_t { kPlain, kNonTemporal };

inline std::string_view name(StoreKind kind) { return kind == StoreKind::kPlain ? "plain" : "non-temporal"; }

}  // namespace rondo::comm
