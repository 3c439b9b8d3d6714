/// What a store holds, and what each request does to it. In-process stores and the server share this one rule book.
///
/// Threading: none of its own; the owner locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "rondo/comm/status.h"
#include "rondo/comm/store.h"

namespace rondo::comm {

inline constexpr size_t kMaxKeyBytes = 256;
inline constexpr size_t kMaxValueBytes = 64 * 1024;
inline constexpr size_t kMaxStoredKeys = 65'536;
inline constexpr size_t kMaxKeysPerRequest = 4'096;

/// kInvalidArgument when the request has the wrong shape or breaks a limit; names the key and the limit.
Status check_request(const StoreRequest& request);

class StoreContent {
 public:
  /// The reply's values; empty while a kGet still lacks a key. Errors: those of check_request, kInvalidArgument for
  /// kAdd on something that is no number, kResource when the store is full.
  Result<std::optional<std::vector<std::string>>> apply(const StoreRequest& request);
  /// Rises with every change: a waiting kGet need not look again before.
  uint64_t version() const { return version_; }

 private:
  Status put(const std::string& key, std::string value);
  Result<std::string> add(const std::string& key, int64_t amount);

  std::unordered_map<std::string, std::string> values_;
  uint64_t version_ = 0;
};

}  // namespace rondo::comm
