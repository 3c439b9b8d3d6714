/// What a check sees on one rank, and what the reports of all ranks say together. Pure.
#pragma once

#include <string>
#include <vector>

#include "rondo/findings.h"

namespace rondo::trainer {

/// Something that is compared with rank 0's.
struct Fact {
  /// kState, kSetting: must be equal. kSampleCount, kArrivalOrder: a note where they are not. kGenerator: a note where
  /// all are equal.
  enum class Kind : uint8_t { kState, kSetting, kSampleCount, kArrivalOrder, kGenerator } kind = Kind::kState;
  std::string name;
  std::string value;
  bool operator==(const Fact&) const = default;
};

struct RankReport {
  std::vector<Finding> findings;  // of one name each, or none; without ranks
  std::vector<Fact> facts;        // no name twice in a kind
};

std::string encode(const RankReport& report);
RankReport decode_rank_report(const std::string& text);
std::string encode(const Findings& findings);
Findings decode_findings(const std::string& text);

/// The reports of all ranks, in rank order. What only some ranks have may weigh more or less than what all have.
Findings merge(const std::vector<RankReport>& ranks);

}  // namespace rondo::trainer
