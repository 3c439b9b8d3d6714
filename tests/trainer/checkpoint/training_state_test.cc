// What a checkpoint holds besides module, optimizer and sampler.
#include "rondo/training_state.h"

#include <climits>
#include <filesystem>
#include <functional>

#include "tests/trainer/data/test_data.h"
#include "tests/trainer/support/trainer_ranks.h"
#include "trainer/checkpoint/checkpoint.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// The least that can be saved.
struct Program {
  explicit Program(const Job& of) : job(of), optimizer(net->parameters(), torch::optim::SGDOptions(0.1)) {
    fill(*net, 7);
  }
  TrainingState state() { return TrainingState(*net, optimizer); }

  const Job& job;
  Mlp net;
  torch::optim::SGD optimizer;
};

/// A part that holds one tensor and a text, of each rank or of all.
Part part_of(const std::string& name, Part::Kept kept, PartContent& content) {
  return {.name = name,
          .kept = kept,
          .save = [&content] { return content; },
          .load = [&content](const PartContent& loaded) { content = loaded; }};
}

TEST(TrainingState, EveryRankGetsItsOwnPartBack) {
  for (const int n : {1, 2, 3}) {
    const TemporaryFolder run;
    run_jobs(n, [&](const Job& job) {
      Program program(job);
      const auto own = [&] { return numbers({1000 * (job.rank + 1)}, static_cast<uint64_t>(job.rank)); };
      PartContent error{.tensors = {{"error", own()}, {"rank", torch::tensor(int64_t{job.rank})}},
                        .texts = {{"json", "{\"rank\": " + std::to_string(job.rank) + "}"}}};
      PartContent common{.tensors = {{"rank", torch::tensor(int64_t{job.rank})}}, .texts = {}};
      TrainingState state = program.state();
      state.add(part_of("error", Part::Kept::kPerRank, error)).add(part_of("common", Part::Kept::kOnce, common));
      save(job, run.path().string(), state);
      error = common = {};
      load(job, run.path().string(), state);
      EXPECT_TRUE(same_bits(error.tensors.at("error"), own())) << "rank " << job.rank << " of " << n;
      EXPECT_EQ(error.tensors.at("rank").item<int64_t>(), job.rank);
      EXPECT_EQ(error.texts.at("json"), "{\"rank\": " + std::to_string(job.rank) + "}");
      EXPECT_EQ(common.tensors.at("rank").item<int64_t>(), 0) << "rank 0's";
    });
  }
}

TEST(TrainingState, HooksAndRandomStreamsOfEachRankComeBack) {
  const TemporaryFolder run;
  run_jobs(2, [&](const Job& job) {
    Program program(job);
    const auto hook = power_sgd_hook();
    const CommHook::State errors{{"backwards", torch::tensor(int64_t{7})},
                                 {"first.weight/error", numbers({3, 4}, static_cast<uint64_t>(job.rank))}};
    hook->restore(errors);
    RandomStreams streams(job, 5);
    TrainingState state = program.state();
    state.add("hook", *hook).add("streams", streams);
    streams.own("noise");
    save(job, run.path().string(), state);
    const auto next = torch::rand({4}, streams.own("noise"));
    hook->restore({});
    load(job, run.path().string(), state);
    EXPECT_TRUE(same_bits(next, torch::rand({4}, streams.own("noise"))));
    for (const auto& [name, tensor] : hook->state()) {
      if (name == "first.weight/error") {
        EXPECT_TRUE(same_bits(tensor, errors[1].second)) << "rank " << job.rank;
      }
    }
    EXPECT_EQ(hook->state().size(), 2U);
  });
}

TEST(TrainingState, PartsThatOnlyOneSideHasAreNamedBeforeAnythingIsChanged) {
  const TemporaryFolder run;
  run_jobs(2, [&](const Job& job) {
    Program program(job);
    LossScale scale;
    PartContent content;
    TrainingState saved = program.state();
    saved.add("scale", scale).add(part_of("hook", Part::Kept::kPerRank, content));
    save(job, run.path().string(), saved);

    Program other(job);
    fill(*other.net, 99);
    const auto before = other.net->parameters()[0].detach().clone();
    Ema averages(*other.net, other.optimizer, 0.5);
    TrainingState wanted = other.state();
    wanted.add("ema", averages).add("scale", scale);
    EXPECT_THAT(error_of([&] { load(job, run.path().string(), wanted); }),
                AllOf(HasSubstr("the checkpoint has no \"ema\""), HasSubstr("the program did not add \"hook\""),
                      HasSubstr("without"), HasSubstr("step-00000000")));
    EXPECT_TRUE(same_bits(before, other.net->parameters()[0]));
    load(job, run.path().string(), wanted, {.without = {"ema", "hook"}});
    EXPECT_TRUE(same_bits(program.net->parameters()[0], other.net->parameters()[0]));
    Sampler sampler(job, 10);
    EXPECT_THAT(error_of([&] {
                  load(job, run.path().string(), TrainingState(*other.net, other.optimizer, sampler),
                       {.without = {"scale", "hook"}});
                }),
                HasSubstr("no position of a sampler"));
  });
}

TEST(TrainingState, WhatIsKeptPerRankGoesOnWithAsManyRanksOnly) {
  const TemporaryFolder run;
  const auto with_part = [&](const std::function<void(const Job&, const TrainingState&)>& body) {
    return [&, body](const Job& job) {
      Program program(job);
      PartContent content;
      TrainingState state = program.state();
      state.add(part_of("hook", Part::Kept::kPerRank, content));
      body(job, state);
    };
  };
  run_jobs(2, with_part([&](const Job& job, const TrainingState& state) { save(job, run.path().string(), state); }));
  run_jobs(1, with_part([&](const Job& job, const TrainingState& state) {
             EXPECT_THAT(error_of([&] { load(job, run.path().string(), state); }),
                         HasSubstr("part \"hook\" was kept by each of 2, and this job wants it by each of 1"));
             EXPECT_EQ(error_of([&] { load(job, run.path().string(), state, {.without = {"hook"}}); }), "");
           }));
}

TEST(TrainingState, APartThatCannotBeSavedFailsOnAllRanksAndWritesNothing) {
  const TemporaryFolder run;
  run_jobs(2, [&](const Job& job) {
    Program program(job);
    TrainingState state = program.state();
    state.add({.name = "broken",
               .save = [&]() -> PartContent {
                 if (job.rank == 1) throw Error("no state yet");
                 return {};
               },
               .load = [](const PartContent&) {}});
    EXPECT_THAT(error_of([&] { save(job, run.path().string(), state); }),
                HasSubstr(job.rank == 1 ? "no state yet" : "rank 1 could not take the state of a checkpoint"));
    EXPECT_FALSE(fs::exists(run.path() / "checkpoints"));

    PartContent content;
    TrainingState uneven = program.state();
    if (job.rank == 1) uneven.add(part_of("extra", Part::Kept::kOnce, content));
    EXPECT_THAT(error_of([&] { save(job, run.path().string(), uneven); }),
                AllOf(HasSubstr("are not those of rank"), HasSubstr(job.rank == 1 ? "extra" : "none")));
  });
}

TEST(TrainingState, NamesOfPartsArePlainAndGivenOnce) {
  run_jobs(1, [](const Job& job) {
    Program program(job);
    TrainingState state = program.state();
    LossScale scale;
    for (const char* name : {"", "a/b", "..", "two words"})
      EXPECT_THAT(error_of([&] { state.add(name, scale); }), HasSubstr("cannot name a part"));
    state.add("scale", scale);
    EXPECT_THAT(error_of([&] { state.add("scale", scale); }), HasSubstr("added twice"));
    EXPECT_THAT(error_of([&] { state.add(Part{.name = "x"}); }), HasSubstr("needs save and load"));
  });
}

TEST(TrainingState, SchedulesPlateausAndFurtherNetworksComeBack) {
  const TemporaryFolder run;
  run_jobs(1, [&](const Job& job) {
    Program program(job);
    Mlp critic;
    fill(*critic, 3);
    torch::optim::AdamW critic_optimizer(critic->parameters(), torch::optim::AdamWOptions(0.01));
    RateScheduler rates(program.optimizer, step_decay(2, 0.5));
    PlateauScheduler plateau(critic_optimizer, {.factor = 0.5, .patience = 1});
    Plateau watch;
    TrainingState state = program.state();
    state.add("critic", *critic, critic_optimizer).add("rates", rates).add("plateau", plateau).add("watch", watch);
    const auto train_critic = [&] {
      critic_optimizer.zero_grad();
      mean_loss(critic, samples(8, 5)).backward();
      critic_optimizer.step();
      rates.step();
      plateau.step(1.0);
      watch.observe(2.0);
    };
    for (int i = 0; i < 3; ++i) train_critic();
    save(job, run.path().string(), state);
    const auto seen = [&] {
      return std::tuple(torch::nn::utils::parameters_to_vector(critic->parameters()).detach().clone(),
                        critic_optimizer.param_groups()[0].options().get_lr(), rates.position(), rates.rates()[0],
                        plateau.state(), watch.state());
    };
    train_critic();
    const auto expected = seen();
    for (int i = 0; i < 5; ++i) train_critic();
    EXPECT_FALSE(same_bits(std::get<0>(seen()), std::get<0>(expected)));
    load(job, run.path().string(), state);
    train_critic();
    EXPECT_TRUE(same_bits(std::get<0>(seen()), std::get<0>(expected)));
    EXPECT_EQ(std::get<1>(seen()), std::get<1>(expected));
    EXPECT_EQ(std::get<2>(seen()), 4);
    EXPECT_EQ(std::get<3>(seen()), 0.1 * 0.5 * 0.5);
    EXPECT_EQ(std::get<4>(seen()), std::get<4>(expected));
    EXPECT_EQ(std::get<5>(seen()), std::get<5>(expected));
  });
}

/// Sample i is the number i.
struct Counting : torch::data::datasets::Dataset<Counting> {
  explicit Counting(size_t count) : count_(count) {}
  torch::data::Example<> get(size_t index) override {
    return {torch::full({1}, static_cast<int64_t>(index)), torch::zeros({1})};
  }
  std::optional<size_t> size() const override { return count_; }
  size_t count_;
};

/// One pass of a loader; after `stop` batches `at_stop` is called and the pass left.
std::vector<int64_t> pass(const Sampler& sampler, const torch::data::DataLoaderOptions& options, int stop = INT_MAX,
                          const std::function<void()>& at_stop = {}) {
  auto loader = torch::data::make_data_loader(Counting(22).map(torch::data::transforms::Stack<>()), sampler, options);
  std::vector<int64_t> seen;
  int batches = 0;
  for (auto& batch : *loader) {
    const auto* const data = batch.data.template const_data_ptr<int64_t>();
    seen.insert(seen.end(), data, data + batch.data.numel());
    if (++batches < stop) continue;
    at_stop();
    break;
  }
  return seen;
}

// 11 samples of each rank in batches of 2: five and a short one.
TEST(Resume, InsideAnEpochLosesAndRepeatsNoSampleWhateverTheLoaderDrawsAhead) {
  run_jobs(2, [](const Job& job) {
    const auto options = [](size_t workers, size_t ahead) {
      return torch::data::DataLoaderOptions(2).workers(workers).max_jobs(ahead);
    };
    for (const auto& loader : {options(0, 0), options(1, 1), options(2, 4), options(2, 3), options(3, 9),
                               options(0, 0).drop_last(true), options(2, 4).drop_last(true)}) {
      Sampler whole(job, 22, {.seed = 3});
      const auto first_epoch = pass(whole, loader), second_epoch = pass(whole, loader);
      const int batches = loader.drop_last() ? 5 : 6;
      EXPECT_EQ(std::ssize(first_epoch), loader.drop_last() ? 10 : 11);
      for (int stop = 1; stop <= batches; ++stop) {
        SCOPED_TRACE(std::to_string(loader.workers()) + " workers, " + std::to_string(stop) + " batches");
        Sampler sampler(job, 22, {.seed = 3}), resumed(job, 22);
        SamplerPosition at;
        auto seen = pass(sampler, loader, stop, [&] { at = sampler.position(); });
        EXPECT_EQ(at.epoch, 0);
        resumed.restore(at);
        if (stop < batches) {
          const auto rest = pass(resumed, loader);
          seen.insert(seen.end(), rest.begin(), rest.end());
        }
        EXPECT_EQ(seen, first_epoch);
        EXPECT_EQ(pass(resumed, loader), second_epoch);
      }
    }
  });
}

TEST(Resume, OfACheckpointThatWasSavedWhileWorkersDrewAheadGoesOnWhereTheLoopStood) {
  const TemporaryFolder run;
  run_jobs(2, [&](const Job& job) {
    const auto loader = torch::data::DataLoaderOptions(2).workers(2);
    Program program(job);
    Sampler whole(job, 22, {.seed = 3}), sampler(job, 22, {.seed = 3}), resumed(job, 22);
    auto seen = pass(sampler, loader, 2,
                     [&] { save(job, run.path().string(), TrainingState(*program.net, program.optimizer, sampler)); });
    load(job, run.path().string(), TrainingState(*program.net, program.optimizer, resumed));
    const auto rest = pass(resumed, loader);
    seen.insert(seen.end(), rest.begin(), rest.end());
    EXPECT_EQ(seen, pass(whole, loader));
  });
}

TEST(Resume, IsRefusedAtTheSaveWhereTheOrderOfBatchesIsNotKnown) {
  const TemporaryFolder run;
  run_jobs(2, [&](const Job& job) {
    Program program(job);
    Sampler sampler(job, 22);
    const TrainingState state(*program.net, program.optimizer, sampler);
    const auto loader = torch::data::DataLoaderOptions(2).workers(2).enforce_ordering(false);
    pass(sampler, loader, 2, [&] {
      EXPECT_THAT(error_of([&] { save(job, run.path().string(), state); }),
                  job.rank == 0 ? HasSubstr("enforce_ordering(true)") : HasSubstr("rank 0 could not"));
    });
    pass(sampler, loader);
    save(job, run.path().string(), state);  // at the end of an epoch
  });
}

TEST(Broadcast, MakesACheckpointThatRankZeroAloneLoadedEverybodys) {
  const TemporaryFolder folder;
  const std::string net_file = (folder.path() / "net.pt").string(),
                    optimizer_file = (folder.path() / "optimizer.pt").string();
  const auto make = [](uint64_t seed) {
    torch::nn::Sequential net(torch::nn::Linear(12, 6), torch::nn::BatchNorm1d(6), torch::nn::Linear(6, 5));
    fill(*net, seed);
    return net;
  };
  const auto options = torch::optim::SGDOptions(0.1).momentum(0.9);
  torch::nn::Sequential trained = make(1);
  torch::optim::SGD plain(trained->parameters(), options);
  const auto plain_step = [&](uint64_t step) {
    plain.zero_grad();
    mean_loss(trained, samples(8, step)).backward();
    plain.step();
  };
  for (uint64_t step = 0; step < 3; ++step) plain_step(step);
  torch::save(trained, net_file);
  torch::save(plain, optimizer_file);
  plain_step(3);
  run_jobs(3, [&](const Job& job) {
    torch::nn::Sequential net = make(static_cast<uint64_t>(100 + job.rank));
    net->forward(samples(4, static_cast<uint64_t>(job.rank)).data);  // statistics of its own
    if (job.rank == 0) torch::load(net, net_file);
    DistributedDataParallel ddp(job, *net);
    Optimizer<torch::optim::SGD> optimizer(ddp, net->parameters(), options);
    if (job.rank == 0) torch::load(optimizer, optimizer_file);
    EXPECT_FALSE(state_differences(job, *net, optimizer).empty()) << "the optimizer's state is rank 0's alone";
    broadcast(job, optimizer);
    EXPECT_TRUE(state_differences(job, *net, optimizer).empty());
    // Every rank has the data of the plain program, so each must go on as it did.
    optimizer.zero_grad();
    mean_loss(net, samples(8, 3)).backward();
    optimizer.step();
    for (const auto& item : trained->named_parameters()) {
      EXPECT_TRUE(torch::allclose(net->named_parameters()[item.key()], item.value(), 1e-5, 1e-6)) << item.key();
    }
    for (const auto& item : trained->named_buffers()) {
      EXPECT_TRUE(torch::allclose(net->named_buffers()[item.key()], item.value(), 1e-5, 1e-6)) << item.key();
    }
  });
}

TEST(TrainingState, ConfigMetricsAndTheBestAreReadBack) {
  const TemporaryFolder run;
  run_jobs(2, [&](const Job& job) {
    Program program(job);
    const auto save_at = [&](int64_t step, double accuracy) {
      job.state()->set_steps_done(step);
      const torch::NoGradGuard no_grad;
      program.net->parameters()[0].fill_(static_cast<double>(step));
      save(job, run.path().string(), program.state(),
           {.config = {{"lr", "0.1"}},
            .metrics = {{"accuracy", accuracy}},
            .keep = {.newest = 1, .best_metric = "accuracy", .better = KeepRules::Better::kHigher}});
    };
    save_at(5, 0.25);
    save_at(6, 0.75);
    save_at(7, 0.5);
    const auto loaded = load(job, run.path().string(), program.state(), {.which = "best"});
    EXPECT_EQ(loaded.step, 6);
    EXPECT_EQ(loaded.metrics.at("accuracy"), 0.75);
    EXPECT_EQ(loaded.config.at("lr"), "0.1");
    EXPECT_EQ(program.net->parameters()[0][0][0].item<double>(), 6);
    EXPECT_EQ(job.state()->steps_done(), 6);
    EXPECT_EQ(load(job, run.path().string(), program.state()).step, 7);
    EXPECT_EQ(load(job, run.path().string(), program.state(), {.which = "step-00000006"}).step, 6);
    EXPECT_THAT(error_of([&] { load(job, run.path().string(), program.state(), {.which = "step-00000005"}); }),
                job.rank == 0 ? HasSubstr("there is no checkpoint") : HasSubstr("rank 0 could not find a checkpoint"));
    EXPECT_THAT(
        error_of([&] {
          save(job, run.path().string(), program.state(), {.metrics = {{"loss", 1.0}}, .keep = {.best_metric = "los"}});
        }),
        HasSubstr("best_metric is \"los\", but the metrics saved are: loss"));
  });
}

}  // namespace
}  // namespace rondo::test
