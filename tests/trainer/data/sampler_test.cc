#include <gtest/gtest.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <sstream>

#include "rondo/rondo.h"
#include "tests/support/run_ranks.h"
#include "trainer/init/job_state.h"

namespace rondo::test {
namespace {

// The sampler of rank `rank` of `world_size`; the job itself has one rank.
template <typename Body>
void with_job(const Body& body) {
  run_endpoints(1, [&](comm::Endpoint& endpoint) { body(trainer::make_job(endpoint)); });
}
Job as_rank(Job job, int rank, int world_size) {
  job.rank = rank;
  job.world_size = world_size;
  return job;
}

std::vector<size_t> epoch_of(Sampler& sampler, size_t batch_size = 4) {
  std::vector<size_t> indices;
  sampler.reset();
  while (const auto batch = sampler.next(batch_size)) indices.insert(indices.end(), batch->begin(), batch->end());
  return indices;
}

TEST(Sampler, RanksPartitionTheDatasetAndPadByWrapping) {
  with_job([](const Job& job) {
    for (const int n : {1, 2, 3, 5}) {
      for (const size_t size : {1UL, 4UL, 10UL, 31UL}) {
        std::multiset<size_t> seen;
        for (int rank = 0; rank < n; ++rank) {
          Sampler sampler(as_rank(job, rank, n), size);
          const auto indices = epoch_of(sampler);
          EXPECT_EQ(indices.size(), (size + n - 1) / n);
          EXPECT_EQ(indices.size(), sampler.size());
          seen.insert(indices.begin(), indices.end());
        }
        for (size_t i = 0; i < size; ++i)
          EXPECT_GE(seen.count(i), 1U) << "index " << i << " of " << size << ", n " << n;
      }
    }
  });
}

TEST(Sampler, ExactPartitionHasEverySampleOnce) {
  with_job([](const Job& job) {
    for (const int n : {1, 2, 3, 5}) {
      std::vector<size_t> seen;
      for (int rank = 0; rank < n; ++rank) {
        Sampler sampler(as_rank(job, rank, n), 13, {.partition = Partition::kExact});
        const auto indices = epoch_of(sampler);
        EXPECT_EQ(indices.size(), sampler.size());
        seen.insert(seen.end(), indices.begin(), indices.end());
      }
      std::ranges::sort(seen);
      std::vector<size_t> all(13);
      std::iota(all.begin(), all.end(), 0);
      EXPECT_EQ(seen, all);
    }
  });
}

TEST(Sampler, WithoutShuffleRankStridesThroughTheDataset) {
  with_job([](const Job& job) {
    Sampler sampler(as_rank(job, 1, 3), 7, {.shuffle = Shuffle::kOff});
    EXPECT_EQ(epoch_of(sampler), (std::vector<size_t>{1, 4, 0}));  // 0 1 2 3 4 5 6 | 0 1
  });
}

TEST(Sampler, BlocksAreContiguousAndPaddedByTheLastIndex) {
  with_job([](const Job& job) {
    const auto block = [&](int rank) {
      Sampler sampler(as_rank(job, rank, 3), 7, {.shuffle = Shuffle::kOff, .partition = Partition::kBlocks});
      return epoch_of(sampler);
    };
    EXPECT_EQ(block(0), (std::vector<size_t>{0, 1, 2}));
    EXPECT_EQ(block(1), (std::vector<size_t>{3, 4, 5}));
    EXPECT_EQ(block(2), (std::vector<size_t>{6, 6, 6}));
  });
}

TEST(Sampler, DrawsTheIndicesOfPyTorchsDistributedSampler) {
  with_job([](const Job& job) {
    // torch.manual_seed(0); torch.randperm(10) -> 4 1 7 5 3 9 0 8 6 2
    Sampler even(as_rank(job, 0, 2), 10), odd(as_rank(job, 1, 2), 10);
    EXPECT_EQ(epoch_of(even), (std::vector<size_t>{4, 7, 3, 0, 6}));
    EXPECT_EQ(epoch_of(odd), (std::vector<size_t>{1, 5, 9, 8, 2}));
  });
}

// list(torch.utils.data.DistributedSampler(range(10), 4, rank, seed=0)) of PyTorch 2.11 after set_epoch(1).
TEST(Sampler, DrawsTheIndicesOfPyTorchsDistributedSamplerAlsoWhereItPadsAndInLaterEpochs) {
  with_job([](const Job& job) {
    const std::vector<std::vector<size_t>> expected{{5, 0, 7}, {6, 8, 4}, {1, 9, 5}, {2, 3, 6}};
    for (int rank = 0; rank < 4; ++rank) {
      Sampler sampler(as_rank(job, rank, 4), 10);
      epoch_of(sampler);
      EXPECT_EQ(epoch_of(sampler), expected[static_cast<size_t>(rank)]) << "rank " << rank;
    }
  });
}

TEST(Sampler, EpochsDifferAndRepeatWithTheSeed) {
  with_job([](const Job& job) {
    Sampler a(job, 50, {.seed = 5}), again(job, 50, {.seed = 5}), other(job, 50, {.seed = 6});
    const auto first = epoch_of(a), second = epoch_of(a);
    EXPECT_NE(first, second);
    EXPECT_EQ(epoch_of(again), first);
    EXPECT_EQ(epoch_of(again), second);
    EXPECT_EQ(epoch_of(other), second) << "PyTorch's rule: the order depends on seed + epoch";
  });
}

TEST(Sampler, CopiesShareTheirPlaceAndARestoredOneGoesOnThere) {
  with_job([](const Job& job) {
    Sampler kept(job, 20, {.seed = 3});
    Sampler moved = kept;
    epoch_of(moved);
    moved.reset();
    std::vector<size_t> whole;
    for (int i = 0; i < 3; ++i) {
      const auto batch = moved.next(3);
      whole.insert(whole.end(), batch->begin(), batch->end());
    }
    EXPECT_EQ(kept.position(), (SamplerPosition{.seed = 3, .epoch = 1, .position = 9}));

    torch::serialize::OutputArchive out;
    kept.save(out);
    std::stringstream bytes;
    out.save_to(bytes);
    torch::serialize::InputArchive in;
    in.load_from(bytes);
    Sampler resumed(job, 20);
    resumed.load(in);
    EXPECT_EQ(resumed.position(), kept.position());
    const auto rest = epoch_of(resumed);
    whole.insert(whole.end(), rest.begin(), rest.end());
    Sampler reference(job, 20, {.seed = 3});
    epoch_of(reference);
    EXPECT_EQ(whole, epoch_of(reference));
    EXPECT_EQ(epoch_of(resumed), epoch_of(reference)) << "and the next epoch follows";
  });
}

}  // namespace
}  // namespace rondo::test
