/// A user's program that trains two layers, with the mistake that its argument names: for `rondo doctor --program`.
/// Where it is let run to its end, it leaves a file.
///
///     clean | short (one step) | early-optimizer | stray | untied-state | unused | no-model | two-models | no-rondo
#include <torch/torch.h>

#include <fstream>
#include <string>

#include "rondo/rondo.h"

namespace {

struct Net : torch::nn::Module {
  Net() {
    first = register_module("first", torch::nn::Linear(4, 6));
    second = register_module("second", torch::nn::Linear(6, 2));
    spare = register_module("spare", torch::nn::Linear(3, 3));
  }
  torch::Tensor forward(const torch::Tensor& x, bool with_spare) {
    torch::Tensor y = second(torch::relu(first(x)));
    return with_spare ? y + spare(x.narrow(1, 0, 3)).sum() : y;
  }
  torch::nn::Linear first{nullptr}, second{nullptr}, spare{nullptr};
};

torch::Tensor loss_of(Net& net, const rondo::Job& job, int64_t step, bool with_spare) {
  const auto x = torch::arange(8, torch::kFloat32).reshape({2, 4}) / 8 + job.rank + static_cast<double>(step);
  return net.forward(x, with_spare).pow(2).mean();
}

using Sgd = rondo::Optimizer<torch::optim::SGD>;
const torch::optim::SGDOptions kRate(1e-3);

int train_two_models(const rondo::Job& job) {
  Net one, other;
  rondo::DistributedDataParallel ddp(job, one), ddp_other(job, other);
  Sgd optimizer(ddp, one.parameters(), kRate), optimizer_other(ddp_other, other.parameters(), kRate);
  for (int64_t step = 0; step < 1000; ++step) {
    for (int64_t again = 0; again < 2; ++again) {
      optimizer.zero_grad();
      loss_of(one, job, step, true).backward();
      optimizer.step();
    }
    optimizer_other.zero_grad();
    loss_of(other, job, step, true).backward();
    optimizer_other.step();
  }
  std::ofstream("came-to-its-end") << "by itself";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mistake = argc > 1 ? argv[1] : "clean";
  if (mistake == "no-rondo") return 0;
  const auto job = rondo::init(argc, argv);
  if (mistake == "no-model") {
    job.barrier();
    return 0;
  }
  torch::manual_seed(1);
  if (mistake == "two-models") return train_two_models(job);
  Net net;
  std::vector<torch::Tensor> early = net.parameters();
  if (mistake == "early-optimizer") {  // the optimizer below is given the layer that was there before
    net.second = net.replace_module("second", torch::nn::Linear(6, 2));
  }
  rondo::DistributedDataParallel ddp(job, net);
  const torch::Tensor stray = torch::ones({7}, torch::requires_grad());
  if (mistake == "stray") early.push_back(stray);
  Sgd optimizer(ddp, early, kRate);
  const int64_t steps = mistake == "short" ? 1 : 1000;
  for (int64_t step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    loss_of(net, job, step, mistake != "unused").backward();
    optimizer.step();
    if (mistake == "untied-state" && step == 0 && job.rank == 1) {  // shows at the second look only
      const torch::NoGradGuard no_grad;
      net.first->weight.add_(1);
    }
  }
  std::ofstream("came-to-its-end") << "by itself";
}
