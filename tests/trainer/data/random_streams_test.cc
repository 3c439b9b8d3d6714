#include "rondo/random_streams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <set>

#include "tests/support/run_ranks.h"
#include "trainer/init/job_state.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;

// LibTorch's default generator is one for all threads, so ranks take turns here.
template <typename Body>
void with_job(const Body& body) {
  run_endpoints(1, [&](comm::Endpoint& endpoint) { body(trainer::make_job(endpoint)); });
}
Job as_rank(Job job, int rank) {
  job.rank = rank;
  job.world_size = 4;
  return job;
}
torch::Tensor draw(const at::Generator& generator) { return torch::randn({5}, generator); }

TEST(RandomStreams, SharedOnesAreEqualOnAllRanksAndOwnOnesDiffer) {
  with_job([](const Job& job) {
    RandomStreams zero(as_rank(job, 0), 7), one(as_rank(job, 1), 7);
    EXPECT_TRUE(torch::equal(draw(zero.shared("init")), draw(one.shared("init"))));
    EXPECT_FALSE(torch::equal(draw(zero.own("dropout")), draw(one.own("dropout"))));
    EXPECT_FALSE(torch::equal(draw(zero.shared("init")), draw(zero.shared("shuffle"))));
    EXPECT_FALSE(torch::equal(draw(zero.own("dropout")), draw(zero.own("crop"))));
  });
}

TEST(RandomStreams, APurposeNamesOneStreamWhichOthersDoNotDisturb) {
  with_job([](const Job& job) {
    RandomStreams plain(job, 7), busy(job, 7);
    const auto first = draw(plain.own("crop")), second = draw(plain.own("crop"));
    EXPECT_FALSE(torch::equal(first, second));
    draw(busy.own("flip"));
    EXPECT_TRUE(torch::equal(draw(busy.own("crop")), first));
    draw(busy.shared("crop"));
    EXPECT_TRUE(torch::equal(draw(busy.own("crop")), second));
  });
}

TEST(RandomStreams, NoTwoRanksOfAPurposeShareASeedAndSeedsAreThoseOfTheRule) {
  std::set<uint64_t> seeds{stream_seed(5, "dropout", std::nullopt)};
  for (int rank = 0; rank < 4096; ++rank) seeds.insert(stream_seed(5, "dropout", rank));
  EXPECT_EQ(seeds.size(), 4097U);
  EXPECT_LE(*seeds.rbegin(), 0xffffffffU);
  // By hand, in Python, from the rule in random_streams.h.
  EXPECT_EQ(stream_seed(0, "init", std::nullopt), 1026821220U);
  EXPECT_EQ(stream_seed(42, "dropout", 3), 2744600039U);
}

TEST(RandomStreams, DefaultGeneratorIsTheRanksOwnAndSharedInsideAScope) {
  with_job([](const Job& job) {
    const auto numbers = [&](int rank) {
      RandomStreams random(as_rank(job, rank), 7);
      const auto before = torch::randn({3});
      torch::Tensor weight;
      {
        const auto scope = random.as_default("init");
        weight = torch::nn::Linear(3, 2)->weight.detach().clone();
      }
      return std::vector<torch::Tensor>{before, weight, torch::randn({3}), draw(random.shared("init"))};
    };
    const auto zero = numbers(0), one = numbers(1);
    EXPECT_FALSE(torch::equal(zero[0], one[0]));
    EXPECT_TRUE(torch::equal(zero[1], one[1]));
    EXPECT_FALSE(torch::equal(zero[2], one[2]));
    EXPECT_TRUE(torch::equal(zero[3], one[3]));
    RandomStreams again(as_rank(job, 0), 7);
    const auto all = torch::randn({6});
    EXPECT_TRUE(torch::equal(all.slice(0, 0, 3), zero[0]));
    EXPECT_TRUE(torch::equal(all.slice(0, 3, 6), zero[2])) << "the scope left no trace";
    draw(again.shared("init").clone());
    EXPECT_FALSE(torch::equal(draw(again.shared("init")), zero[3])) << "the scope's numbers are taken";
  });
}

TEST(RandomStreams, GoOnFromASavedStateBitForBit) {
  with_job([](const Job& job) {
    RandomStreams random(job, 7);
    draw(random.own("crop"));
    draw(random.shared("shuffle"));
    torch::randn({3});
    const auto state = random.state();
    ASSERT_EQ(state.size(), 3U);
    const auto next = [](RandomStreams& streams) {
      return torch::cat({draw(streams.own("crop")), draw(streams.shared("shuffle")), torch::randn({4}),
                         draw(streams.own("new since then"))});
    };
    const auto expected = next(random);
    RandomStreams resumed(job, 7);
    draw(resumed.own("new since then"));
    resumed.restore(state);
    EXPECT_TRUE(torch::equal(next(resumed), expected));
  });
}

TEST(RandomStreams, StateOfSomethingElseIsRefusedByName) {
  with_job([](const Job& job) {
    RandomStreams random(job, 7);
    const auto text_of = [&](const std::string& name, const torch::Tensor& tensor) -> std::string {
      try {
        random.restore({{name, tensor}});
      } catch (const Error& error) {
        return error.what();
      }
      return "";
    };
    EXPECT_THAT(text_of("theirs/crop", random.state()[0].second), HasSubstr("\"theirs/crop\""));
    EXPECT_THAT(text_of("own/crop", torch::zeros({3})), HasSubstr("\"own/crop\""));
  });
}

}  // namespace
}  // namespace rondo::test
