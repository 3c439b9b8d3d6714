/// A measured point: what is printed and written about it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "comm/bench/contender.h"
#include "comm/bench/plan.h"
#include "comm/bench/statistics.h"

namespace rondo::bench {

struct Row {
  std::string operation;
  std::string reduction = "none";
  int64_t byte_count = 0;
  int64_t element_count = 0;
  comm::DType dtype = comm::DType::kFloat32;
  std::optional<comm::DType> wire;
  Label label;
  int ranks = 1;
  Cores cores = Cores::kOwn;
  int round = 0;  // 0: all rounds together
  int calls = 0;
  Summary time;  // microseconds, of the slowest rank of each call
  double algbw = 0, busbw = 0;
  int64_t wrong = 0;
  std::optional<double> flag_before_ns, flag_after_ns;
  std::optional<double> copy_us;          // to load and store byte_count bytes in all; see copy_rate.h
  std::optional<int64_t> store_requests;  // create: of the rank with the most
  std::optional<std::string> difference;  // mismatch: in what the ranks' calls differ
};

/// 2S bytes at the copy rate, as a share of the time taken: 1 is the floor.
std::optional<double> floor_share(const Row& row);

/// Rows of one point from several rounds as one, round 0.
Row over_rounds(const std::vector<Row>& rounds);

/// One JSON object, one line.
std::string row_json(const Row& row);

/// nccl-tests' columns, then the spread. For the rows of a sweep over one collective.
std::string table_head(const Label& label);
std::string table_line(const Row& row);

}  // namespace rondo::bench
