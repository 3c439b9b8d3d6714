// Runs one parity case: `parity_worker CASE OUTPUT`, started by `rondo run` once a rank. Rank 0 writes OUTPUT.
#include <rondo/rondo.h>
#include <torch/torch.h>

#include <cstdio>

#include "tests/parity/case_runner.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: parity_worker CASE OUTPUT\n");
    return 2;
  }
  try {
    torch::set_num_threads(1);
    const auto job = rondo::init(argc, argv);
    const auto computed = rondo::test::run_parity_case(job, rondo::test::read_parity_case(argv[1]));
    if (job.rank == 0) rondo::test::write_tensors(argv[2], computed);
  } catch (const rondo::Error& error) {
    std::fprintf(stderr, "parity_worker: %s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
