// Checkpoints that are written while training goes on.
#include "rondo/checkpoint_writer.h"

#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "tests/trainer/data/test_data.h"
#include "tests/trainer/support/trainer_ranks.h"
#include "trainer/checkpoint/checkpoint.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// A program whose parameters can be told by a number.
struct Program {
  explicit Program(const Job& of) : job(of), optimizer(net->parameters(), torch::optim::SGDOptions(0.1)) {}
  TrainingState state() { return TrainingState(*net, optimizer).add(hook()); }
  Part hook() {
    return {.name = "hook",
            .kept = Part::Kept::kPerRank,
            .save =
                [this] {
                  return PartContent{.tensors = {{"error", error}}, .texts = {}};
                },
            .load = [this](const PartContent& content) { error.copy_(content.tensors.at("error")); }};
  }
  void become(double number, int64_t step) {
    const torch::NoGradGuard no_grad;
    for (const auto& parameter : net->parameters()) parameter.fill_(number);
    error.fill_(number + job.rank);
    job.state()->set_steps_done(step);
  }
  void expect(double number) const {
    for (const auto& parameter : net->parameters()) EXPECT_TRUE(parameter.eq(number).all().item<bool>());
    EXPECT_TRUE(error.eq(number + job.rank).all().item<bool>());
  }

  const Job& job;
  Mlp net;
  torch::optim::SGD optimizer;
  torch::Tensor error = torch::zeros({100'000});
};

TEST(CheckpointWriter, WritesTheValuesOfTheMomentOfTheCall) {
  const TemporaryFolder run;
  run_jobs(2, [&](const Job& job) {
    Program program(job);
    CheckpointWriter writer(job, run.path().string());
    for (int64_t step = 1; step <= 5; ++step) {
      program.become(static_cast<double>(step), step);
      writer.save(program.state(), {.keep = {.newest = 3}});
      program.become(-1, step);  // training goes on at once
    }
    writer.close();
    for (int64_t step = 3; step <= 5; ++step) {
      load(job, run.path().string(), program.state(), {.which = trainer::checkpoint_name(step)});
      program.expect(static_cast<double>(step));
    }
    EXPECT_FALSE(fs::exists(run.path() / "checkpoints" / trainer::checkpoint_name(2)));
    writer.save(program.state());  // also after close()
    writer.close();
  });
}

TEST(CheckpointWriter, ARankMayTakeLongerThanACollectiveToSaveAndToLoad) {
  const TemporaryFolder run;
  const InitOptions options{.operation_timeout = std::chrono::seconds(3)};
  const auto dawdle = [] { std::this_thread::sleep_for(std::chrono::seconds(4)); };
  run_jobs(
      3,
      [&](const Job& job) {
        Program program(job);
        Part slow = program.hook();
        slow.save = [&, hook = slow.save] {
          if (job.rank == 1) dawdle();
          return hook();
        };
        slow.load = [&, hook = slow.load](const PartContent& content) {
          if (job.rank == 0) dawdle();
          hook(content);
        };
        const TrainingState state = TrainingState(*program.net, program.optimizer).add(slow);
        program.become(1, 1);
        save(job, run.path().string(), state);
        program.become(-1, 1);
        load(job, run.path().string(), state);
        program.expect(1);
      },
      options);
}

TEST(CheckpointWriter, AFailedWriteIsReportedByTheNextCallOnAllRanksAndLosesNothing) {
  const TemporaryFolder run;
  const fs::path blocked = run.path() / "checkpoints" / trainer::checkpoint_name(2);
  run_jobs(2, [&](const Job& job) {
    Program program(job);
    CheckpointWriter writer(job, run.path().string());
    program.become(1, 1);
    writer.save(program.state());
    writer.close();
    if (job.rank == 0) write_file(blocked, "a file in the way");
    job.barrier();
    const auto failed = job.rank == 0 ? HasSubstr(blocked.string()) : HasSubstr("rank 0 could not write");
    program.become(2, 2);
    writer.save(program.state());
    EXPECT_THAT(error_of([&] { writer.save(program.state()); }), failed);
    writer.save(program.state());
    EXPECT_THAT(error_of([&] { writer.close(); }), failed);
    EXPECT_EQ(error_of([&] { writer.close(); }), "") << "told once";
    EXPECT_EQ(load(job, run.path().string(), program.state(), {.which = trainer::checkpoint_name(1)}).step, 1);
    program.expect(1);
    program.become(3, 3);
    writer.save(program.state());
    writer.close();
    EXPECT_EQ(load(job, run.path().string(), program.state()).step, 3);
  });
}

TEST(CheckpointWriter, AFullDiskIsNamedWithTheFileAndLeavesNothingHalf) {
  const TemporaryFolder run;
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  run_jobs(1, [&](const Job& job) {
    Program program(job);
    program.become(1, 1);
    save(job, run.path().string(), program.state());
    program.become(2, 2);
    rlimit small = before;
    small.rlim_cur = 100'000;  // the part does not fit, the model does
    setrlimit(RLIMIT_FSIZE, &small);
    const std::string said = error_of([&] { save(job, run.path().string(), program.state()); });
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_THAT(said, ::testing::AllOf(HasSubstr("cannot write"), HasSubstr(run.path().string()),
                                       HasSubstr("part.hook.rank-0000.safetensors"), HasSubstr("File too large")));
    EXPECT_EQ(std::distance(fs::directory_iterator(run.path() / "checkpoints"), {}), 1);
    EXPECT_EQ(load(job, run.path().string(), program.state()).step, 1);
  });
  std::signal(SIGXFSZ, old_handler);
}

TEST(CheckpointWriter, ItsEndFinishesTheWriteUnderWay) {
  const TemporaryFolder run;
  run_jobs(2, [&](const Job& job) {
    Program program(job);
    program.become(4, 4);
    {
      CheckpointWriter writer(job, run.path().string());
      writer.save(program.state());
    }
    job.barrier();
    program.become(-1, 0);
    EXPECT_EQ(load(job, run.path().string(), program.state()).step, 4);
    program.expect(4);
  });
}

}  // namespace
}  // namespace rondo::test
