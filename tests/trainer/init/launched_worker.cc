/// One rank of any launcher, with LibTorch: trains a small net on made data, and says in one line where it stands and
/// the bits of its last loss. Where ranks and seed are the same, so are the bits, whoever started them.
#include <torch/torch.h>
#include <unistd.h>

#include <bit>
#include <cinttypes>
#include <cstdio>

#include "rondo/rondo.h"

int main(int argc, char** argv) {
  constexpr int kSteps = 8, kRows = 16, kFeatures = 12, kClasses = 5;
  torch::set_num_threads(1);
  try {
    const auto job = rondo::init(argc, argv);
    torch::manual_seed(7 + job.rank);
    torch::nn::Sequential net(torch::nn::Linear(kFeatures, 64), torch::nn::Tanh(), torch::nn::Linear(64, 64),
                              torch::nn::Tanh(), torch::nn::Linear(64, kClasses));
    rondo::DistributedDataParallel ddp(job, *net, {.bucket_cap_bytes = 4096, .first_bucket_bytes = 1024});
    rondo::Optimizer<torch::optim::SGD> optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
    double mean_loss = 0;
    for (int step = 0; step < kSteps; ++step) {
      optimizer.zero_grad();
      auto loss = torch::nn::functional::cross_entropy(net->forward(torch::randn({kRows, kFeatures})),
                                                       torch::randint(kClasses, {kRows}));
      loss.backward();
      optimizer.step();
      mean_loss = job.sum(loss.item<double>()) / job.world_size;
    }
    double norm = 0;
    for (const auto& parameter : net->parameters())
      norm += parameter.detach().to(torch::kFloat64).square().sum().item<double>();
    char line[256];
    const int length = std::snprintf(
        line, sizeof(line),
        "launched pid=%d rank=%d world=%d local_rank=%d loss=%016" PRIx64 " weights=%016" PRIx64 "\n", ::getpid(),
        job.rank, job.world_size, job.local_rank, std::bit_cast<uint64_t>(mean_loss), std::bit_cast<uint64_t>(norm));
    std::fwrite(line, 1, static_cast<size_t>(length), stdout);
    std::fflush(stdout);
  } catch (const rondo::Error& error) {
    std::fprintf(stderr, "launched_worker: %s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
