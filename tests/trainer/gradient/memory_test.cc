// What a wrapper costs in memory, and that it leaves none behind.
#include <malloc.h>
#include <torch/torch.h>

#include <filesystem>
#include <fstream>

#include "tests/support/descriptors.h"
#include "tests/trainer/gradient/nets.h"

namespace rondo::test {
namespace {

int64_t status_kib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != field + ":") continue;
    int64_t kib = 0;
    status >> kib;
    return kib;
  }
  return -1;
}

/// The most memory that this process had resident since the last forget_peak(), in bytes.
int64_t peak_bytes() { return 1024 * status_kib("VmHWM"); }
void forget_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

struct WideImpl : torch::nn::Module {
  WideImpl() {
    for (int i = 0; i < 6; ++i) {
      layers.push_back(register_module("layer" + std::to_string(i), torch::nn::Linear(kWidth, kWidth)));
    }
  }
  torch::Tensor forward(torch::Tensor x) {
    for (auto& layer : layers) x = torch::relu(layer(x));
    return x;
  }
  static constexpr int64_t kWidth = 1536;
  static constexpr int64_t kGradientBytes = int64_t{4} * 6 * (kWidth * kWidth + kWidth);
  std::vector<torch::nn::Linear> layers;
};
TORCH_MODULE(Wide);

// Peak of three steps above what there was before the wrapper; both forms of zero_grad.
int64_t growth(int ranks, bool wrapped, bool set_to_none) {
  std::atomic<int64_t> result = 0;
  run_jobs(ranks, [&](const Job& job) {
    Wide net;
    const auto batch = torch::ones({2, WideImpl::kWidth});
    const auto train = [&](auto& optimizer) {
      for (int step = 0; step < 3; ++step) {
        optimizer.zero_grad(set_to_none);
        net->forward(batch).sum().backward();
        optimizer.step();
      }
    };
    job.barrier();
    if (job.rank == 0) forget_peak();
    job.barrier();
    const int64_t before = 1024 * status_kib("VmRSS");
    if (wrapped) {
      DistributedDataParallel ddp(job, *net, {.one_rank = OneRank::kFullPath});
      Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.0));
      train(optimizer);
      job.barrier();
    } else {
      torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.0));
      train(optimizer);
      job.barrier();
    }
    if (job.rank == 0) result = peak_bytes() - before;
    job.barrier();
  });
  return result / ranks;
}

TEST(Memory, AWrapperCostsAtMostOneGradientSizeBuffer) {
  mallopt(M_MMAP_THRESHOLD, 1 << 20);  // what is freed goes back at once, so that the peak is what was in use
  for (const int ranks : {1, 2}) {
    for (const bool set_to_none : {true, false}) {
      const int64_t plain = growth(ranks, false, set_to_none), wrapped = growth(ranks, true, set_to_none);
      const auto sizes = static_cast<double>(wrapped - plain) / static_cast<double>(WideImpl::kGradientBytes);
      std::cout << ranks << (set_to_none ? " ranks, gradients undefined: " : " ranks, gradients zeroed: ") << sizes
                << " gradient sizes more than without the wrapper\n";
      EXPECT_LE(sizes, 1.1);
    }
  }
}

struct Holdings {
  size_t descriptors = open_descriptors(), threads = 0, shared_mappings = 0;
  int64_t resident_bytes = 1024 * status_kib("VmRSS");
  Holdings() {
    for ([[maybe_unused]] const auto& task : std::filesystem::directory_iterator("/proc/self/task")) ++threads;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) shared_mappings += line.find("/memfd:rondo") != std::string::npos;
  }
};

TEST(Memory, AThousandWrapsAndStepsLeaveNothing) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    std::optional<Holdings> before;
    for (int cycle = 0; cycle <= 1100; ++cycle) {
      if (cycle == 100) {
        job.barrier();
        if (job.rank == 0) before.emplace();
        job.barrier();
      }
      DistributedDataParallel ddp(job, *net);
      Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.0));
      optimizer.zero_grad();
      mean_loss(net, samples(4, job.rank)).backward();
      optimizer.step();
    }
    job.barrier();
    if (job.rank == 0) {
      const Holdings after;
      EXPECT_EQ(before->descriptors, after.descriptors);
      EXPECT_EQ(before->threads, after.threads);
      // Those that live in the last gradients, as before.
      EXPECT_EQ(before->shared_mappings, after.shared_mappings);
#ifdef __SANITIZE_ADDRESS__
      const int64_t kept = int64_t{256} << 20;  // freed memory that AddressSanitizer keeps aside
#else
      const int64_t kept = 0;
#endif
      EXPECT_LE(after.resident_bytes - before->resident_bytes, kept + kept / 2 + (int64_t{4} << 20));
    }
    job.barrier();
  });
}

}  // namespace
}  // namespace rondo::test
