/// What ranks tell each other once per step, after the last gradient: a few bytes that are combined by bit-or.
///
/// It goes out after every reduced bucket of the step is held, so a record that completed proves that all ranks hold
/// them. Layout: one byte of flags, a bit per rank that failed, a bit per rank without data, a bit per parameter that
/// received a gradient, and per rank two 32-bit numbers of microseconds: each rank fills its own, so that bit-or
/// gathers them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rondo/step_statistics.h"

namespace rondo::trainer {

struct StepRecord {
  bool weighed = false;               // some rank called weigh()
  bool unweighed = false;             // some rank did not
  std::vector<bool> failed;           // per rank: its backward did not complete
  std::vector<bool> idle;             // per rank: no data in this step, its weight is 0
  std::vector<bool> used;             // per parameter
  std::vector<RankTimes> times = {};  // per rank; empty: none known. Above 71 minutes they stay there

  /// "rank 1, rank 3"; empty when none failed.
  std::string failed_ranks() const;
  bool any_failed() const { return !failed_ranks().empty(); }
  /// The lowest rank that has data; -1 when none has.
  int first_with_data() const;
};

struct StepRecordShape {
  int world_size = 1;
  int parameter_count = 0;
};
int64_t record_bytes(StepRecordShape shape);
std::vector<uint8_t> encode(const StepRecord& record, StepRecordShape shape);
StepRecord decode_step_record(const std::vector<uint8_t>& bytes, StepRecordShape shape);

}  // namespace rondo::trainer
