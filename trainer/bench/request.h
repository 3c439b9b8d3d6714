/// The command line of rondo-train-bench. No LibTorch.
#pragma once

#include <cstdint>
#include <string>

namespace rondo::trainer {

/// What one start measures.
enum class Study : uint8_t {
  kRanks,          // a wrapped net, overlap on and off, block by block in turn
  kOneWorker,      // one process: the plain loop beside the wrapper
  kMemoryPlain,    // peak memory of the plain loop
  kMemoryWrapped,  // peak memory with the wrapper
  kFirstStep,      // when the first step of a wrapped net was done, for `rondo bench start`
};

struct BenchRequest {
  Study study = Study::kRanks;
  std::string model = "cnn";
  int64_t batch = 64;  // of a rank
  int blocks = 3, steps = 8, warm_up = 2;
  int round = 1;
  std::string json_file;  // rank 0 appends its rows there; empty: stdout

  int64_t all_steps() const { return warm_up + int64_t{blocks} * steps; }
};

std::string bench_usage();
/// Throws rondo::Error (kUsage).
BenchRequest parse_bench_request(int argc, char** argv);

}  // namespace rondo::trainer
