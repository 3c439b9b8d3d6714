/// What was timed on this machine before the tuner chose: costs of links, and of stores into memory that peers read.
/// Plain data; rank 0's goes to every rank as text.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/store_kind.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// What a message of S bytes costs a rank: alpha + S * beta, and S * gamma for adding what came (Hockney's model).
struct LinkCost {
  double alpha_us = 0;
  double beta_ns = 0;   // a byte
  double gamma_ns = 0;  // a byte
  bool operator==(const LinkCost&) const = default;
};

/// One staged all-reduce of so many bytes, by each kind of store.
struct StoreTiming {
  size_t byte_count = 0;
  double plain_us = 0;
  double non_temporal_us = 0;
  StoreKind faster() const;
  bool operator==(const StoreTiming&) const = default;
};

struct Measured {
  std::optional<LinkCost> messages;  // of the transport that carries messages
  std::optional<LinkCost> memory;    // shared by ranks: alpha is a round of flags
  std::vector<StoreTiming> staging;  // sizes ascend
  double took_us = 0;

  std::string encode() const;
  /// kCorrupt for what is no such text.
  static Result<Measured> decode(const std::string& text);
  /// A line each, for people.
  std::string describe() const;
  bool operator==(const Measured&) const = default;
};

}  // namespace rondo::comm
