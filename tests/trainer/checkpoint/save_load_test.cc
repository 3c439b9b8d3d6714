// rondo::save and rondo::load, as a program of one's own uses them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "rondo/rondo.h"
#include "tests/trainer/data/test_data.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/models/models.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

/// A program of one rank: what each process of a job would run.
class Program {
 public:
  explicit Program(uint64_t seed)
      : job_(init(0, nullptr)),
        net_(make_net(seed)),
        ddp_(job_, *net_),
        optimizer_(ddp_, net_->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9)),
        sampler_(job_, 100, {.seed = 7}) {}

  /// Takes `steps` batches of 10 samples, across epochs.
  void train(int steps) {
    for (int step = 0; step < steps; ++step) {
      auto indices = in_pass_ ? sampler_.next(10) : std::nullopt;
      if (!indices) {
        sampler_.reset();  // as a data loader begins each pass
        in_pass_ = true;
        indices = sampler_.next(10);
      }
      const auto samples = torch::tensor(std::vector<int64_t>(indices->begin(), indices->end()));
      const auto inputs =
          (samples.view({-1, 1, 1, 1}) * torch::arange(784).view({1, 1, 28, 28})).to(torch::kFloat32).sin();
      optimizer_.zero_grad();
      torch::nn::functional::cross_entropy(net_->forward(inputs), samples % 10).backward();
      optimizer_.step();
    }
  }
  void save(const std::string& run) { rondo::save(job_, run, *net_, optimizer_, sampler_); }
  void load(const std::string& run) { rondo::load(job_, run, *net_, optimizer_, sampler_); }
  std::string hash() const { return trainer::hash_parameters(*net_); }

 private:
  static std::shared_ptr<trainer::FmnistMlp> make_net(uint64_t seed) {
    torch::manual_seed(seed);
    return std::make_shared<trainer::FmnistMlp>();
  }

  Job job_;
  std::shared_ptr<trainer::FmnistMlp> net_;
  DistributedDataParallel ddp_;
  Optimizer<torch::optim::SGD> optimizer_;
  Sampler sampler_;
  bool in_pass_ = false;
};

TEST(SaveLoad, AnInterruptedProgramEndsWithTheBitsOfAnUninterruptedOne) {
  for (const int before : {3, 10, 14}) {  // inside an epoch, at its end, inside the second
    const test::TemporaryFolder run;
    Program through(1);
    through.train(before);
    through.save(run.path().string());
    through.train(9);

    Program resumed(2);
    resumed.load(run.path().string());
    resumed.train(9);
    EXPECT_EQ(resumed.hash(), through.hash()) << before << " steps before";
    resumed.save(run.path().string());
    EXPECT_TRUE(std::filesystem::exists(run.path() / "checkpoints" / trainer::checkpoint_name(before + 9)))
        << "steps count on from the loaded ones";
  }
}

TEST(SaveLoad, WithoutAWholeCheckpointNothingIsLoaded) {
  const test::TemporaryFolder run;
  Program program(1);
  const std::string before = program.hash();
  EXPECT_THAT(test::words_of_error([&] { program.load(run.path().string()); }), HasSubstr("no checkpoint"));
  program.save(run.path().string());
  const auto file = run.path() / "checkpoints" / trainer::checkpoint_name(0) / trainer::kModelFile;
  test::write_file(file, "damaged");
  EXPECT_THAT(test::words_of_error([&] { program.load(run.path().string()); }), HasSubstr(file.string()));
  EXPECT_EQ(program.hash(), before);
}

}  // namespace
}  // namespace rondo
