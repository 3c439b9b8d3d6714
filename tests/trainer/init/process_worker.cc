// A small training program. `process_worker STEPS [DIE_AT]`: rank 1 kills itself in the middle of backward of step
// DIE_AT.
#include <torch/torch.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "rondo/rondo.h"

namespace {

void train(int argc, char** argv) {
  torch::set_num_threads(1);
  const auto job = rondo::init(argc, argv);
  const int steps = argc > 1 ? std::atoi(argv[1]) : 3;
  const int die_at = argc > 2 ? std::atoi(argv[2]) : -1;
  torch::manual_seed(job.rank);  // replicas start different; wrapping makes them equal
  torch::nn::Sequential net(torch::nn::Linear(8, 64), torch::nn::ReLU(), torch::nn::Linear(64, 64), torch::nn::ReLU(),
                            torch::nn::Linear(64, 3));
  rondo::DistributedDataParallel ddp(job, *net, {.bucket_cap_bytes = 4096, .first_bucket_bytes = 1024});
  rondo::Optimizer<torch::optim::SGD> optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
  int step = 0;
  net->parameters()[2].register_hook([&](const torch::Tensor&) {
    if (job.rank == 1 && step == die_at) std::raise(SIGKILL);
  });
  for (; step < steps; ++step) {
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(net->forward(torch::randn({16, 8})), torch::randint(3, {16})).backward();
    optimizer.step();
  }
  const auto weights = torch::nn::utils::parameters_to_vector(net->parameters()).detach().to(torch::kFloat64);
  const auto all = job.all_gather(weights);
  const bool equal = torch::equal(all[0], all[job.world_size - 1]);
  std::printf("rank %d of %d trained %d steps, replicas %s\n", job.rank, job.world_size, steps,
              equal ? "equal" : "DIFFERENT");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    train(argc, argv);
  } catch (const rondo::Error& error) {
    std::fprintf(stderr, "rondo::Error, culprit %d: %s\n", error.culprit_rank(), error.what());
    return static_cast<int>(error.exit_code());
  }
}
