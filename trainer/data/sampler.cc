// rondo::Sampler: PyTorch's DistributedSampler rule, index for index.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <utility>

#include "rondo/sampler.h"
#include "trainer/init/gather.h"

namespace rondo {
namespace trainer {

struct SamplerState {
  const int rank;
  const int world_size;
  const SamplerOptions options;

  // Guarded by mutex: a loader draws, and its owner saves.
  std::mutex mutex;
  int64_t dataset_size;
  SamplerPosition at;
  bool resumes = false;              // the next pass keeps the position
  std::vector<int64_t> permutation;  // of `at.epoch`; empty: not drawn yet
  // Of the pass.
  LoaderHabits habits = {};
  int64_t drawn = 0;          // samples; at.position of them were handed out
  std::deque<int64_t> ahead;  // sizes of the batches between
  size_t first_draws = 0;     // calls of next() until the loader hands out its first batch

  int64_t rank_size() const { return rank_size(rank); }
  int64_t rank_size(int of) const {
    if (options.partition != Partition::kExact) return (dataset_size + world_size - 1) / world_size;
    return dataset_size / world_size + (of < dataset_size % world_size ? 1 : 0);
  }
  /// In the lengthened list: of what rank `of` draws after `before` others.
  int64_t place(int of, int64_t before) const {
    return options.partition == Partition::kBlocks ? of * rank_size(of) + before : of + before * world_size;
  }
  int64_t sample(int64_t at_place) const {
    const int64_t in_list =
        options.partition == Partition::kBlocks ? std::min(at_place, dataset_size - 1) : at_place % dataset_size;
    return permutation[static_cast<size_t>(in_list)];
  }

  void begin_pass(const LoaderHabits& of_loader) {
    if (!resumes) {
      ++at.epoch;
      at.position = 0;
    }
    resumes = false;
    habits = of_loader;
    drawn = at.position;
    ahead.clear();
    first_draws = habits.drawn_ahead;
    draw_permutation();
  }

  // Note [Batches drawn ahead]
  // A loader with workers draws some batches before it hands out the first, and from then on one for each that it hands
  // out, the oldest; at the end of the epoch it asks in vain. So every call but the first ones means that a batch went
  // to the loop, and the position is what the loop was given.
  std::vector<size_t> next(int64_t most) {
    const int64_t before = drawn;
    std::vector<size_t> batch(static_cast<size_t>(std::clamp<int64_t>(rank_size() - drawn, 0, most)));
    for (size_t& index : batch) index = static_cast<size_t>(sample(place(rank, drawn++)));
    if (habits.drops_last) {
      if (std::ssize(batch) < most) batch.clear();
      if (rank_size() - drawn < most) drawn = rank_size();  // nobody gets the rest
    }
    const bool hands_out = first_draws == 0;
    first_draws -= hands_out ? 0 : batch.empty() ? first_draws : 1;
    if (!batch.empty()) ahead.push_back(drawn - before);
    if (hands_out && !ahead.empty()) {
      at.position += ahead.front();
      ahead.pop_front();
    }
    if (ahead.empty()) at.position = drawn;
    return batch;
  }

  void draw_permutation() {
    permutation.resize(static_cast<size_t>(dataset_size));
    if (options.shuffle == Shuffle::kOff) {
      for (int64_t i = 0; i < dataset_size; ++i) permutation[i] = i;
      return;
    }
    const auto generator = at::detail::createCPUGenerator(at.seed + static_cast<uint64_t>(at.epoch));
    const at::Tensor order = at::randperm(dataset_size, generator, at::TensorOptions().dtype(at::kLong));
    std::copy_n(order.const_data_ptr<int64_t>(), dataset_size, permutation.begin());
  }
};

LoaderSampler::LoaderSampler(Sampler sampler, const torch::data::FullDataLoaderOptions& options)
    : sampler_(std::move(sampler)),
      habits_{.drawn_ahead = options.workers > 0 ? options.max_jobs : 0,
              .drops_last = options.drop_last,
              .in_order = options.enforce_ordering || options.workers <= 1} {}

}  // namespace trainer

Sampler::Sampler(const Job& job, size_t size, const SamplerOptions& options)
    : state_(new trainer::SamplerState{.rank = job.rank,
                                       .world_size = job.world_size,
                                       .options = options,
                                       .mutex = {},
                                       .dataset_size = static_cast<int64_t>(size),
                                       .at = {.seed = options.seed, .epoch = -1, .position = 0},
                                       .permutation = {}}) {}

void Sampler::reset(std::optional<size_t> new_size) {
  const std::lock_guard lock(state_->mutex);
  if (new_size) state_->dataset_size = static_cast<int64_t>(*new_size);
  state_->begin_pass({});
}

void Sampler::begin_pass(const trainer::LoaderHabits& habits) {
  const std::lock_guard lock(state_->mutex);
  state_->begin_pass(habits);
}

std::optional<std::vector<size_t>> Sampler::next(size_t batch_size) {
  const std::lock_guard lock(state_->mutex);
  trainer::SamplerState& state = *state_;
  if (state.at.epoch < 0 || state.permutation.empty()) return std::nullopt;
  std::vector<size_t> batch = state.next(static_cast<int64_t>(batch_size));
  return batch.empty() ? std::nullopt : std::optional(std::move(batch));
}

std::vector<std::vector<int64_t>> Sampler::samples_of_ranks() const {
  const std::lock_guard lock(state_->mutex);
  const trainer::SamplerState& state = *state_;
  std::vector<std::vector<int64_t>> all(static_cast<size_t>(state.world_size));
  if (state.permutation.empty()) return all;
  for (int rank = 0; rank < state.world_size; ++rank) {
    for (int64_t i = 0; i < state.rank_size(rank); ++i) {
      const int64_t place = state.place(rank, i);
      all[static_cast<size_t>(rank)].push_back(place < state.dataset_size ? state.sample(place) : -1);
    }
  }
  return all;
}

at::Tensor gather(const Job& job, const at::Tensor& rows, const Sampler& sampler) {
  if (rows.requires_grad() && c10::GradMode::is_enabled()) {
    throw Error("gather: the rows require grad, and autograd does not see collectives; pass rows.detach()",
                ExitCode::kUsage);
  }
  const trainer::GatheredRows gathered = trainer::gather_rows(job, rows);
  const auto samples = sampler.samples_of_ranks();
  std::vector<int64_t> from, to;
  int64_t row = 0;
  for (size_t rank = 0; rank < samples.size(); ++rank) {
    const auto drawn = static_cast<int64_t>(samples[rank].size());
    if (gathered.counts[rank] != drawn) {
      throw Error("gather: rank " + std::to_string(rank) + " has " + std::to_string(gathered.counts[rank]) +
                      " rows, but its sampler hands out " + std::to_string(drawn) +
                      " samples an epoch; give one row for each sample of a whole epoch, in its order",
                  {.exit_code = ExitCode::kUsage, .culprit_rank = static_cast<int>(rank), .code = "kMismatch"});
    }
    for (const int64_t sample : samples[rank]) {
      if (sample >= 0) {
        from.push_back(row);
        to.push_back(sample);
      }
      ++row;
    }
  }
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = static_cast<int64_t>(to.size());
  at::Tensor ordered = at::empty(shape, rows.options().requires_grad(false));
  return ordered.index_copy_(0, at::tensor(to, at::kLong), gathered.rows.index_select(0, at::tensor(from, at::kLong)));
}

void Sampler::save(torch::serialize::OutputArchive& archive) const {
  const SamplerPosition at = position();
  archive.write("seed", c10::IValue(static_cast<int64_t>(at.seed)));
  archive.write("epoch", c10::IValue(at.epoch));
  archive.write("position", c10::IValue(at.position));
}

void Sampler::load(torch::serialize::InputArchive& archive) {
  const auto number = [&](const char* key) {
    c10::IValue value;
    archive.read(key, value);
    return value.toInt();
  };
  restore({.seed = static_cast<uint64_t>(number("seed")), .epoch = number("epoch"), .position = number("position")});
}

size_t Sampler::size() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<size_t>(state_->rank_size());
}

SamplerPosition Sampler::position() const {
  const std::lock_guard lock(state_->mutex);
  return state_->at;
}

bool Sampler::position_is_known() const {
  const std::lock_guard lock(state_->mutex);
  return state_->habits.in_order || state_->ahead.empty();
}

void Sampler::restore(const SamplerPosition& position) {
  const std::lock_guard lock(state_->mutex);
  state_->at = position;
  state_->drawn = position.position;
  state_->ahead.clear();
  // A finished epoch is not gone into again.
  state_->resumes = position.epoch >= 0 && position.position < state_->rank_size();
  if (state_->resumes) state_->draw_permutation();
}

}  // namespace rondo
