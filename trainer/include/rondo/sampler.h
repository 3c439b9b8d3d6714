/// Which samples a rank draws, in which order.
#pragma once

#include <torch/data/dataloader/stateless.h>
#include <torch/data/samplers/base.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "rondo/job.h"

namespace rondo {

namespace trainer {
// Private to Rondo.
struct SamplerState;
class LoaderSampler;

/// How a data loader calls its sampler.
struct LoaderHabits {
  size_t drawn_ahead = 0;  // batches, before it hands out the first
  bool drops_last = false;
  bool in_order = true;  // batches are handed out as they were drawn
};
}  // namespace trainer

/// kPadded is the rule of PyTorch's DistributedSampler: the list is lengthened to a multiple of the world size from its
/// own front. kExact: no sample twice; ranks may differ by one. kBlocks: contiguous blocks of equal length, the list
/// lengthened by its own last index; the rule of sequential samplers for evaluation in PyTorch programs.
enum class Partition : uint8_t { kPadded, kExact, kBlocks };
enum class Shuffle : uint8_t { kOn, kOff };

struct SamplerOptions {
  uint64_t seed = 0;
  Shuffle shuffle = Shuffle::kOn;
  Partition partition = Partition::kPadded;
};

/// Where a sampler stands: `position` samples of this rank were handed out in `epoch`; -1 = before the first.
struct SamplerPosition {
  uint64_t seed = 0;
  int64_t epoch = -1;
  int64_t position = 0;
  bool operator==(const SamplerPosition&) const = default;
};

/// Gives each rank every world_size-th index of one permutation, drawn from (seed, epoch) alone: the indices of
/// PyTorch's DistributedSampler. Copies share their state, because a data loader moves its sampler away: keep a copy to
/// save it. Every loader pass starts the next epoch (reset()); the first pass after a load goes on inside the epoch
/// that was saved. A loader with workers draws ahead; position() counts what its loop was given, so that a resume
/// neither loses nor repeats a sample.
class Sampler : public torch::data::samplers::Sampler<> {
 public:
  Sampler(const Job& job, size_t size, const SamplerOptions& options = {});

  void reset(std::optional<size_t> new_size = std::nullopt) override;
  std::optional<std::vector<size_t>> next(size_t batch_size) override;
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

  /// Samples of this rank in one epoch.
  size_t size() const;
  SamplerPosition position() const;
  /// False inside a pass of a loader with workers and enforce_ordering(false): which samples its loop was given cannot
  /// be told, and no checkpoint can be saved.
  bool position_is_known() const;
  /// The next pass goes on from there.
  void restore(const SamplerPosition& position);
  /// For each rank, the samples of this epoch in the order of next(); -1 for those that padding repeats.
  std::vector<std::vector<int64_t>> samples_of_ranks() const;

 private:
  friend class trainer::LoaderSampler;
  void begin_pass(const trainer::LoaderHabits& habits);

  std::shared_ptr<trainer::SamplerState> state_;  // shared by copies
};

/// Results in the order of the data set, on every rank: row i is that of sample i. `rows` are this rank's, one for each
/// sample in the order in which `sampler` (of the whole of the last epoch) handed them out; what padding repeated is
/// dropped. Collective. Throws on all ranks, naming one that has more or fewer rows than samples.
at::Tensor gather(const Job& job, const at::Tensor& rows, const Sampler& sampler);

namespace trainer {
/// The sampler of a LibTorch loader, and what it has to know of the loader.
class LoaderSampler {
 public:
  using BatchRequestType = std::vector<size_t>;
  LoaderSampler(Sampler sampler, const torch::data::FullDataLoaderOptions& options);
  void reset() { sampler_.begin_pass(habits_); }
  std::optional<BatchRequestType> next(size_t batch_size) { return sampler_.next(batch_size); }

 private:
  Sampler sampler_;
  LoaderHabits habits_;
};
}  // namespace trainer

}  // namespace rondo

/// What torch::data::make_data_loader() makes of a rondo::Sampler: LibTorch's own loader, whose options the sampler
/// knows.
template <typename Dataset>
class torch::data::StatelessDataLoader<Dataset, rondo::Sampler>
    : public torch::data::StatelessDataLoader<Dataset, rondo::trainer::LoaderSampler> {
 public:
  StatelessDataLoader(Dataset dataset, rondo::Sampler sampler, DataLoaderOptions options)
      : StatelessDataLoader<Dataset, rondo::trainer::LoaderSampler>(
            std::move(dataset), {std::move(sampler), FullDataLoaderOptions(options)}, options) {}
};
