// `throwing_worker PLACE END`: a training program whose rank 1 throws in its third step: in forward, in the loss, in a
// node of backward after the first bucket was launched, or in the user's hook on a parameter. END says what becomes of
// it: uncaught; caught outside of the Job's scope (outside); caught in the loop, which goes on with zero_grad() inside
// the catch block (inside), after skip_step() behind it (skip), or just goes on (goes-on).
#include <torch/torch.h>

#include <cstdio>
#include <stdexcept>
#include <string>

#include "rondo/rondo.h"

namespace {

constexpr int kSteps = 6, kThrowsIn = 2, kRank = 1;

struct Throwing {
  std::string place;
  bool now = false;
  void at(const std::string& where) const {
    if (now && place == where) throw std::runtime_error("no " + where + " today");
  }
};

struct PassesOrThrows : torch::autograd::Function<PassesOrThrows> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x, int64_t throwing) {
    context->saved_data["throwing"] = throwing;
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    reinterpret_cast<const Throwing*>(context->saved_data["throwing"].toInt())->at("node");
    return {gradients[0], torch::Tensor()};
  }
};

void train(int argc, char** argv, Throwing throwing, const std::string& end) {
  torch::set_num_threads(1);
  const auto job = rondo::init(argc, argv);
  torch::manual_seed(job.rank);
  torch::nn::Linear first(8, 64), second(64, 64), third(64, 3);
  torch::nn::Sequential net(first, second, third);
  rondo::DistributedDataParallel ddp(job, *net, {.bucket_cap_bytes = 4096, .first_bucket_bytes = 1024});
  rondo::Optimizer<torch::optim::SGD> optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
  first->weight.register_hook([&](const torch::Tensor&) { throwing.at("hook"); });

  const auto step = [&] {
    optimizer.zero_grad();
    auto y = torch::relu(first(torch::randn({16, 8})));
    throwing.at("forward");
    y = third(torch::relu(PassesOrThrows::apply(second(y), reinterpret_cast<int64_t>(&throwing))));
    const auto loss = torch::nn::functional::cross_entropy(y, torch::randint(3, {16}));
    throwing.at("loss");
    loss.backward();
    optimizer.step();
  };
  for (int i = 0; i < kSteps; ++i) {
    throwing.now = job.rank == kRank && i == kThrowsIn;
    if (end == "uncaught" || end == "outside") {
      step();
      continue;
    }
    std::string cause;
    try {
      step();
    } catch (const rondo::Error&) {
      throw;
    } catch (const std::runtime_error& error) {
      cause = error.what();
      if (end == "inside") optimizer.zero_grad();
    }
    if (!cause.empty() && end == "skip") ddp.skip_step(cause);
  }
  const auto weights = torch::nn::utils::parameters_to_vector(net->parameters()).detach();
  const auto all = job.all_gather(weights);
  std::printf("rank %d: %lld steps reduced, replicas %s\n", job.rank, static_cast<long long>(ddp.statistics().step),
              torch::equal(all[0], all[1]) ? "equal" : "DIFFERENT");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string end = argv[2];
  const auto run = [&] {
    try {
      train(argc, argv, {.place = argv[1]}, end);
    } catch (const rondo::Error& error) {
      std::fprintf(stderr, "rondo::Error, culprit %d: %s\n", error.culprit_rank(), error.what());
      return static_cast<int>(error.exit_code());
    }
    return 0;
  };
  if (end != "outside") return run();
  try {
    return run();
  } catch (const std::runtime_error& error) {
    std::fprintf(stderr, "outside: %s\n", error.what());
    return 1;
  }
}
