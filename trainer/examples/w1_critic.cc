// The Wasserstein distance W1 of two distributions, measured by a critic with gradient penalty on several ranks.
//
//   rondo run --nproc-per-node 2 rondo-example-w1-critic
//
// Three cases, with a referee each: N(0, 1) and N(1, 1) (the sorted samples), a cloud in the plane and the same one
// shifted by 1 (the shift), and two clouds of 64 points (the cheapest assignment, with the potentials that prove it).
// Ends with 1 when an estimate is off by more than 10 %, or the assignment is not proved to 1e-6.
#include <rondo/rondo.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdio>
#include <functional>

#include "trainer/examples/assignment.h"
#include "trainer/examples/critic.h"
#include "trainer/examples/ring.h"

namespace {

using Draw = std::function<torch::Tensor(int64_t)>;  // so many samples: (count, features)

// Collective: the mean over the ranks, equal on each. NaN where the replicas differ.
double estimate(const rondo::Job& job, const Draw& first, const Draw& second, int steps) {
  constexpr int64_t kBatch = 128;  // of all ranks together
  const int64_t batch = kBatch / job.world_size;
  auto judge = critic::network(first(1).size(1), 1);
  rondo::DistributedDataParallel ddp(job, *judge);
  rondo::Optimizer<torch::optim::Adam> optimizer(ddp, judge->parameters(),
                                                 torch::optim::AdamOptions(2e-3).betas({0.5, 0.9}));
  rondo::RateScheduler rates(optimizer, rondo::cosine(steps));
  for (int step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    critic::loss(judge, first(batch), second(batch), 10).backward();
    optimizer.step();
    rates.step();
  }
  if (!ring::replicas_equal(job, *judge)) return std::nan("");
  const torch::NoGradGuard no_grad;
  constexpr int64_t kSamples = 20'000;
  const auto distance = judge->forward(first(kSamples)).mean() - judge->forward(second(kSamples)).mean();
  return job.sum(distance.item<double>()) / job.world_size;
}

bool within_bar(const rondo::Job& job, const char* what, double critic, double exact) {
  const bool good = std::abs(critic - exact) <= 0.1 * exact;
  if (job.rank == 0)
    std::printf("%s: critic %.3f, exact %.3f, %+.1f %% (bar 10 %%)\n", what, critic, exact, 100 * (critic / exact - 1));
  return good;
}

Draw cloud(int64_t features, double shift) {
  auto offset = torch::zeros({features});
  offset[0] = shift;
  return [features, offset](int64_t count) { return torch::randn({count, features}) + offset; };
}

bool on_the_line(const rondo::Job& job) {
  const Draw first = cloud(1, 1), second = cloud(1, 0);
  const double critic = estimate(job, first, second, 1200);
  const auto sorted = [](const torch::Tensor& samples) { return std::get<0>(samples.sort(0)); };
  const auto referee = (sorted(first(20'000)) - sorted(second(20'000))).abs().mean();
  const double exact = job.sum(referee.item<double>()) / job.world_size;
  return within_bar(job, "N(1, 1) and N(0, 1), sorted samples", critic, exact);
}

bool in_the_plane(const rondo::Job& job) {
  return within_bar(job, "a cloud in the plane, shifted by 1", estimate(job, cloud(2, 1), cloud(2, 0), 1200), 1);
}

bool of_points(const rondo::Job& job) {
  constexpr int64_t kPoints = 64;
  auto first = cloud(2, 1)(kPoints), second = cloud(2, 0)(kPoints);
  job.broadcast(first);
  job.broadcast(second);
  const auto resample = [](const torch::Tensor& points) -> Draw {
    return [points](int64_t count) {
      return points.index_select(0, torch::randint(points.size(0), {count}, torch::kLong));
    };
  };
  const auto optimum = assignment::solve(torch::cdist(first.to(torch::kFloat64), second.to(torch::kFloat64)));
  const bool proved = std::abs(optimum.primal - optimum.dual) <= 1e-6 && optimum.violation <= 1e-6;
  if (job.rank == 0)
    std::printf("assignment of 64 points: cost %.6f, duality gap %.1e, broken by %.1e at most (bar 1e-6)\n",
                optimum.primal, std::abs(optimum.primal - optimum.dual), optimum.violation);
  const double critic = estimate(job, resample(first), resample(second), 3000);
  return within_bar(job, "two clouds of 64 points, assignment", critic, optimum.primal) && proved;
}

int run(int argc, char** argv) {
  torch::set_num_threads(1);
  const auto job = rondo::init(argc, argv);
  torch::manual_seed(1 + job.rank);  // other samples on each rank; wrapping makes the replicas equal
  const bool line = on_the_line(job), plane = in_the_plane(job), points = of_points(job);
  return line && plane && points ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const rondo::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
