/// A loop over batches that all ranks run equally often, though their loaders differ in length:
///
///   for (auto& batch : job.lockstep(*loader)) {
///     optimizer.zero_grad();
///     auto loss = cross_entropy(model->forward(batch.data), batch.target);
///     ddp.weigh(loss, batch.target.size(0)).backward();
///     optimizer.step();
///   }
///
/// Note [Why a rank that has run out gets empty batches]
/// A rank without data must still take part in every exchange of a step, also in those inside forward (BatchNorm over
/// all ranks). So its body runs on with batches whose first dimension is 0, of the shapes and dtypes that the others'
/// have, and whatever it computes counts nothing: its weight in the reduction is 0, weighed or not, and 0 * NaN (the
/// mean loss of no samples) never reaches a sum. With weigh() the gradient is the mean over all samples of the step,
/// without it the mean over the ranks that still have data. A body may leave forward and backward out where
/// `batch.data.size(0) == 0`, as long as nothing in forward is an exchange; step points and zero_grad() stay.
///
/// Cost: an all_gather of one byte a batch. Leave the loop on all ranks alike, or on none. One loop at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <iterator>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "rondo/job.h"

namespace rondo {

namespace trainer {

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};
template <typename T>
concept TupleLike = requires { std::tuple_size<T>::value; };

/// Whether visit_tensors knows its way in a batch of type B: tensors, structs with `data` and perhaps `target`, tuples
/// and vectors of samples (an empty one has none).
template <typename B>
constexpr bool knows_batch() {
  if constexpr (std::same_as<B, at::Tensor> || IsVector<B>::value) {
    return true;
  } else if constexpr (requires(B batch) {
                         batch.data;
                         batch.target;
                       }) {
    return knows_batch<decltype(B::data)>() && knows_batch<decltype(B::target)>();
  } else if constexpr (requires(B batch) { batch.data; }) {
    return knows_batch<decltype(B::data)>();
  } else if constexpr (TupleLike<B>) {
    return []<size_t... I>(std::index_sequence<I...>) {
      return (knows_batch<std::remove_cvref_t<std::tuple_element_t<I, B>>>() && ...);
    }(std::make_index_sequence<std::tuple_size_v<B>>());
  } else {
    return false;
  }
}

/// Calls `visit` with each tensor of a batch.
template <typename B, typename Visit>
void visit_tensors(B& batch, const Visit& visit) {
  using Plain = std::remove_cv_t<B>;
  if constexpr (std::same_as<Plain, at::Tensor>) {
    visit(batch);
  } else if constexpr (IsVector<Plain>::value) {
    // of samples: a batch without any has no tensors
  } else if constexpr (requires {
                         batch.data;
                         batch.target;
                       }) {
    visit_tensors(batch.data, visit);
    visit_tensors(batch.target, visit);
  } else if constexpr (requires { batch.data; }) {
    visit_tensors(batch.data, visit);
  } else {
    std::apply([&](auto&... parts) { (visit_tensors(parts, visit), ...); }, batch);
  }
}

/// What ranks tell each other before each batch. While it lives, a rank that is out counts nothing in reductions.
class LockstepRounds {
 public:
  explicit LockstepRounds(std::shared_ptr<JobState> job);
  ~LockstepRounds();
  LockstepRounds(const LockstepRounds&) = delete;
  LockstepRounds& operator=(const LockstepRounds&) = delete;

  enum class Mine : uint8_t { kBatch, kOut, kOutAndNeverHadOne };
  enum class Round : uint8_t { kOver, kGoesOn, kGoesOnAfterForms };
  /// Collective.
  Round begin(Mine mine);
  /// Collective, after kGoesOnAfterForms: the first rank that has a batch shows its tensors, which is `mine` there; all
  /// get tensors like them without rows.
  std::vector<at::Tensor> exchange_empty(const std::vector<at::Tensor>& mine);
  /// Like `tensor`, without rows.
  static at::Tensor without_rows(const at::Tensor& tensor);

 private:
  std::shared_ptr<JobState> job_;  // shared with the Job's copies
  int shows_ = 0;                  // the first rank that has a batch
};

}  // namespace trainer

/// What a range-for over job.lockstep(loader) runs on. Single pass; `loader` must outlive it.
template <typename Loader>
class [[nodiscard]] Lockstep {
  using Inner = decltype(std::begin(std::declval<Loader&>()));
  using End = decltype(std::end(std::declval<Loader&>()));
  using Reference = decltype(*std::declval<Inner&>());
  using Element = std::remove_reference_t<Reference>;
  static constexpr bool kLendsElements = std::is_lvalue_reference_v<Reference>;

 public:
  using Batch = std::remove_cv_t<Element>;

  Lockstep(const Job& job, Loader& loader, std::optional<Batch> empty)
      : rounds_(job.state()), loader_(loader), empty_(std::move(empty)) {}
  Lockstep(const Lockstep&) = delete;
  Lockstep& operator=(const Lockstep&) = delete;

  struct Over {};
  class Iterator {
   public:
    explicit Iterator(Lockstep& of) : of_(&of) {}
    Element& operator*() const { return *of_->current_; }
    Iterator& operator++() {
      of_->advance();
      return *this;
    }
    bool operator==(Over) const { return of_->current_ == nullptr; }

   private:
    Lockstep* of_;
  };

  Iterator begin() {
    inner_.emplace(std::begin(loader_));
    end_.emplace(std::end(loader_));
    next();
    return Iterator(*this);
  }
  Over end() const { return {}; }

 private:
  using Rounds = trainer::LockstepRounds;

  void advance() {
    if (has_) ++*inner_;
    next();
  }

  void next() {
    has_ = has_ && !(*inner_ == *end_);
    const auto mine = has_ ? Rounds::Mine::kBatch : empty_ ? Rounds::Mine::kOut : Rounds::Mine::kOutAndNeverHadOne;
    const auto round = rounds_.begin(mine);
    current_ = nullptr;
    if (round == Rounds::Round::kOver) return;
    if (has_) take_own();
    if (round == Rounds::Round::kGoesOnAfterForms) adopt_empty();
    if (has_) return;
    held_.emplace(*empty_);  // a copy: the body may change it
    current_ = &*held_;
  }

  void take_own() {
    if constexpr (kLendsElements) {
      current_ = &**inner_;
    } else {
      held_.emplace(**inner_);
      current_ = &*held_;
    }
    if constexpr (trainer::knows_batch<Batch>()) {
      if (empty_) return;
      empty_.emplace(*current_);
      if constexpr (trainer::IsVector<Batch>::value) empty_->clear();
      trainer::visit_tensors(*empty_, [](at::Tensor& tensor) { tensor = Rounds::without_rows(tensor); });
    }
  }

  void adopt_empty() {
    if constexpr (trainer::knows_batch<Batch>()) {
      std::vector<at::Tensor> mine;
      if (empty_) trainer::visit_tensors(*empty_, [&](at::Tensor& tensor) { mine.push_back(tensor); });
      const std::vector<at::Tensor> shown = rounds_.exchange_empty(mine);
      if (empty_) return;
      size_t next = 0;
      empty_.emplace();
      trainer::visit_tensors(*empty_, [&](at::Tensor& tensor) { tensor = shown.at(next++); });
    }
  }

  Rounds rounds_;
  Loader& loader_;
  std::optional<Batch> empty_;  // what this rank gets when it is out; known from its first batch on
  std::optional<Inner> inner_;
  std::optional<End> end_;
  std::optional<Batch> held_;
  Element* current_ = nullptr;
  bool has_ = true;
};

template <typename Loader>
Lockstep<Loader> Job::lockstep(Loader& loader) const {
  static_assert(trainer::knows_batch<typename Lockstep<Loader>::Batch>(),
                "a batch of this type has no form without samples that Rondo can make; give one: "
                "job.lockstep(loader, empty_batch)");
  return Lockstep<Loader>(*this, loader, std::nullopt);
}

template <typename Loader, typename Batch>
Lockstep<Loader> Job::lockstep(Loader& loader, Batch empty) const {
  return Lockstep<Loader>(*this, loader, std::optional<typename Lockstep<Loader>::Batch>(std::move(empty)));
}

}  // namespace rondo
