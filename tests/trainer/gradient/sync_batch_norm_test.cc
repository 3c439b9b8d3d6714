// BatchNorm over all ranks against BatchNorm of one process over the whole batch.
#include <torch/torch.h>

#include "tests/trainer/support/trainer_ranks.h"
#include "trainer/gradient/replica.h"

namespace rondo::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// A typed member, a module inside Sequential and one without weights, on `Dims`-dimensional images (0: features).
template <typename Norm>
struct NetImpl : torch::nn::Module {
  explicit NetImpl(torch::ScalarType type = torch::kFloat64) {
    using Options = torch::nn::BatchNormOptions;
    first = register_module("first", Norm(Options(kChannels)));
    rest = register_module("rest", torch::nn::Sequential(torch::nn::Functional(torch::tanh), Norm(Options(kChannels)),
                                                         Norm(Options(kChannels).affine(false).momentum(0.3))));
    to(type);
  }
  torch::Tensor forward(const torch::Tensor& x) { return rest->forward(first(x)); }
  static constexpr int64_t kChannels = 3;
  Norm first{nullptr};
  torch::nn::Sequential rest{nullptr};
};

struct Case {
  std::string name;
  std::vector<int64_t> batches;  // of the ranks
  std::vector<int64_t> image;    // behind batch and channels
};

std::vector<int64_t> shape(int64_t batch, const std::vector<int64_t>& image) {
  std::vector<int64_t> all{batch, 3};
  all.insert(all.end(), image.begin(), image.end());
  return all;
}

/// Fixed factors, so that no sum of the gradient vanishes by itself.
torch::Tensor loss_of(const torch::Tensor& out, const torch::Tensor& factors) { return (out * factors).sum(); }

template <typename Norm>
void expect_as_one_big_batch(const Case& c, torch::ScalarType type, double tolerance) {
  SCOPED_TRACE(c.name);
  const auto world_size = static_cast<int>(c.batches.size());
  int64_t total = 0;
  for (const int64_t batch : c.batches) total += batch;
  run_jobs(world_size, [&](const Job& job) {
    const auto close = [&](const torch::Tensor& a, const torch::Tensor& b, const std::string& what) {
      ASSERT_EQ(a.sizes(), b.sizes()) << what;
      EXPECT_TRUE(torch::allclose(a, b, tolerance, tolerance)) << what << " on rank " << job.rank << "\n" << a << b;
    };
    auto net = std::make_shared<NetImpl<Norm>>(type), whole = std::make_shared<NetImpl<Norm>>(type);
    fill(*net, 5), fill(*whole, 5);
    DistributedDataParallel ddp(job, *net);
    ddp.sync_batch_norm();
    torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
    int64_t begin = 0;
    for (int rank = 0; rank < job.rank; ++rank) begin += c.batches[static_cast<size_t>(rank)];
    const int64_t mine = c.batches[static_cast<size_t>(job.rank)];
    for (uint64_t step = 0; step < 2; ++step) {
      const auto all = 3 + 2 * numbers(shape(total, c.image), 100 + step, type);
      const auto factors = numbers(shape(total, c.image), 200 + step, type);
      auto x = all.narrow(0, begin, mine).clone().requires_grad_(), x_all = all.clone().requires_grad_();
      const auto out = net->forward(x), out_all = whole->forward(x_all);
      close(out, out_all.narrow(0, begin, mine), "output");
      net->zero_grad(), whole->zero_grad();
      loss_of(out, factors.narrow(0, begin, mine)).backward();
      loss_of(out_all, factors).backward();
      close(x.grad(), x_all.grad().narrow(0, begin, mine), "gradient of the input");
      for (const auto& item : net->named_parameters()) {
        close(item.value().grad() * job.world_size, whole->named_parameters()[item.key()].grad(), item.key());
      }
      for (const auto& item : net->named_buffers()) {
        close(item.value().to(torch::kDouble), whole->named_buffers()[item.key()].to(torch::kDouble), item.key());
        const auto of_all = job.all_gather(item.value());
        for (int rank = 1; rank < world_size; ++rank) EXPECT_TRUE(same_bits(of_all[rank], of_all[0])) << item.key();
      }
      ddp.step(optimizer);
      for (const auto& p : whole->parameters()) p.data().sub_(0.1 / job.world_size * p.grad());
    }
    net->eval(), whole->eval();  // no exchange: every rank alone
    const auto x = numbers(shape(2 + job.rank, c.image), 7, type);
    close(net->forward(x), whole->forward(x), "evaluation");
  });
}

TEST(SyncBatchNorm, IsBatchNormOfTheWholeBatchInAllItsForms) {
  const std::vector<std::vector<int64_t>> batches = {{4, 4}, {5, 2, 3}, {6, 0, 2}, {0, 0, 7}};
  for (const auto& ranks : batches) {
    const std::string name = "batches " + testing::PrintToString(ranks);
    using namespace torch::nn;
    expect_as_one_big_batch<BatchNorm1d>({name + ", features", ranks, {}}, torch::kFloat64, 1e-10);
    expect_as_one_big_batch<BatchNorm1d>({name + ", 1d", ranks, {5}}, torch::kFloat64, 1e-10);
    expect_as_one_big_batch<BatchNorm2d>({name + ", 2d", ranks, {4, 3}}, torch::kFloat64, 1e-10);
    expect_as_one_big_batch<BatchNorm3d>({name + ", 3d", ranks, {2, 3, 2}}, torch::kFloat64, 1e-10);
    expect_as_one_big_batch<BatchNorm2d>({name + ", 2d, float32", ranks, {4, 3}}, torch::kFloat32, 1e-3);
  }
}

TEST(SyncBatchNorm, GradientsAreThoseOfFiniteDifferences) {
  run_jobs(2, [](const Job& job) {
    auto net = std::make_shared<NetImpl<torch::nn::BatchNorm2d>>();
    fill(*net, 5);
    DistributedDataParallel ddp(job, *net);
    ddp.sync_batch_norm();
    const auto x = numbers({3, 3, 2, 2}, 10 + static_cast<uint64_t>(job.rank), torch::kFloat64);
    const auto factors = numbers({3, 3, 2, 2}, 20 + static_cast<uint64_t>(job.rank), torch::kFloat64);
    auto leaf = x.clone().requires_grad_();
    loss_of(net->forward(leaf), factors).backward();
    constexpr double kShift = 1e-5;
    for (int moved = 0; moved < job.world_size; ++moved) {
      for (int64_t element = 0; element < x.numel(); element += 5) {
        double difference = 0;
        for (const double sign : {1.0, -1.0}) {
          const torch::NoGradGuard no_grad;
          auto shifted = x.clone();
          if (moved == job.rank) shifted.view(-1)[element] += sign * kShift;
          difference += sign * job.sum(loss_of(net->forward(shifted), factors).item<double>());
        }
        const auto gradient = job.all_gather(leaf.grad().view(-1)[element].clone().view({1}));
        EXPECT_NEAR(gradient[moved].item<double>(), difference / (2 * kShift), 1e-6) << element;
      }
    }
  });
}

TEST(SyncBatchNorm, OnlyRegisteredModulesInTrainingAreSynchronised) {
  run_jobs(2, [](const Job& job) {
    torch::nn::Sequential net(torch::nn::BatchNorm1d(3), torch::nn::Linear(3, 2));
    torch::nn::BatchNorm1d stranger(3), native(3);
    std::optional<DistributedDataParallel> ddp;
    ddp.emplace(job, *net);
    ddp->sync_batch_norm();
    const auto x = numbers({4, 3}, static_cast<uint64_t>(job.rank));
    EXPECT_TRUE(same_bits(stranger(x), native(x))) << "no rank waits for another";
    ddp.reset();
    torch::nn::BatchNorm1d alone(3);
    fill(*net, 1);
    {
      const torch::NoGradGuard no_grad;
      alone->weight.copy_(net->named_parameters()["0.weight"]);
      alone->bias.copy_(net->named_parameters()["0.bias"]);
    }
    EXPECT_TRUE(same_bits(net[0]->as<torch::nn::BatchNorm1d>()->forward(x), alone(x))) << "the wrapper is gone";
  });
}

/// Where rank 1 throws: before a BatchNorm in forward, or before it in backward, with and without gradients arrived.
enum class Thrown : uint8_t { kInForward, kInBackward, kBetweenGradients };

struct ThrowingNet : torch::nn::Module {
  ThrowingNet() {
    first = register_module("first", torch::nn::Linear(12, 6));
    norm = register_module("norm", torch::nn::BatchNorm1d(6));
    again = register_module("again", torch::nn::BatchNorm1d(6));
    last = register_module("last", torch::nn::Linear(6, 5));
  }
  torch::Tensor forward(const torch::Tensor& x, std::optional<Thrown> thrown) {
    const auto at_gradient_of = [](const torch::Tensor& tensor) {
      tensor.register_hook([](const torch::Tensor&) { throw std::runtime_error("the toast burnt"); });
    };
    const auto middle = norm(first(x));
    if (thrown == Thrown::kInForward) throw std::runtime_error("the toast burnt");
    const auto normal = again(torch::tanh(middle));
    if (thrown == Thrown::kBetweenGradients) at_gradient_of(normal);
    const auto out = last(normal);
    if (thrown == Thrown::kInBackward) at_gradient_of(out);
    return out;
  }
  torch::nn::Linear first{nullptr}, last{nullptr};
  torch::nn::BatchNorm1d norm{nullptr}, again{nullptr};
};

TEST(SyncBatchNorm, AStepThatOneRankGaveUpIsSkippedByAllWhereverTheyMeet) {
  for (const int n : {2, 3}) {
    for (const Thrown place : {Thrown::kInForward, Thrown::kInBackward, Thrown::kBetweenGradients}) {
      SCOPED_TRACE(std::to_string(n) + " ranks, place " + std::to_string(static_cast<int>(place)));
      run_jobs(n, [&](const Job& job) {
        const auto net = std::make_shared<ThrowingNet>();
        fill(*net, 3);
        DistributedDataParallel ddp(job, *net);
        ddp.sync_batch_norm();
        torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
        const auto weights = [&] { return net->first->weight.detach().clone(); };
        for (int step = 0; step < 5; ++step) {
          const bool bad = step == 1 || step == 2;
          const torch::Tensor old = weights();
          std::string said;
          try {
            optimizer.zero_grad();
            const auto batch = samples(4, static_cast<uint64_t>(10 * step + job.rank));
            const auto out = net->forward(batch.data, bad && job.rank == 1 ? std::optional(place) : std::nullopt);
            torch::nn::functional::cross_entropy(out, batch.target).backward();
            ddp.step(optimizer);
          } catch (const std::exception& error) {
            said = error.what();
            ddp.step(optimizer);
          }
          EXPECT_EQ(same_bits(old, weights()), bad) << "step " << step << ", rank " << job.rank;
          if (!bad) {
            EXPECT_EQ(said, "") << "step " << step << ", rank " << job.rank;
          }
          if (bad) {
            EXPECT_THAT(said, HasSubstr("the toast burnt")) << "step " << step;
          }
          if (bad && job.rank != 1) {
            EXPECT_THAT(said, HasSubstr("rank 1 gave this step up")) << "step " << step;
          }
        }
        for (const auto& item : net->named_parameters()) {
          const auto all = job.all_gather(item.value().detach());
          for (int rank = 1; rank < n; ++rank) EXPECT_TRUE(same_bits(all[rank], all[0])) << item.key();
        }
      });
    }
  }
}

TEST(SyncBatchNorm, SaysWhatItCannotDo) {
  run_jobs(2, [](const Job& job) {
    Mlp plain;
    DistributedDataParallel without(job, *plain);
    EXPECT_THAT(error_of([&] { without.sync_batch_norm(); }), HasSubstr("has no BatchNorm"));
    torch::nn::Sequential bare(
        torch::nn::BatchNorm1d(12), torch::nn::Linear(12, 3),
        torch::nn::BatchNorm1d(torch::nn::BatchNormOptions(3).affine(false).track_running_stats(false)));
    DistributedDataParallel bare_ddp(job, *bare);
    EXPECT_THAT(error_of([&] { bare_ddp.sync_batch_norm(); }),
                AllOf(HasSubstr("\"2\" (torch::nn::BatchNorm1dImpl)"), HasSubstr("affine(false)"),
                      ::testing::Not(HasSubstr("\"0\""))));
    torch::nn::Sequential net(torch::nn::BatchNorm2d(3));
    DistributedDataParallel ddp(job, *net);
    ddp.sync_batch_norm();
    // One value on one rank, none on the other: no variance. (LibTorch's module looks at its own batch first.)
    const auto& norm = *net[0]->as<torch::nn::BatchNorm2d>();
    const auto x = torch::ones({1 - job.rank, 3, 1, 1});
    EXPECT_THAT(error_of([&] {
                  (void)torch::batch_norm(x, norm.weight, norm.bias, norm.running_mean, norm.running_var,
                                          /*training=*/true, 0.1, 1e-5, false);
                }),
                HasSubstr("one value per channel on all ranks"));
  });
  run_jobs(2, [](const Job& job) {
    torch::nn::Sequential net(torch::nn::BatchNorm2d(3));
    DistributedDataParallel ddp(job, *net);
    ddp.sync_batch_norm();
    auto x = numbers({2, 3, 2, 2}, 1).requires_grad_();
    const auto loss = net->forward(x).pow(2).sum();
    EXPECT_THAT(error_of([&] { (void)torch::autograd::grad({loss}, {x}, {}, true, true); }),
                HasSubstr("second derivative"));
  });
}

}  // namespace
}  // namespace rondo::test
