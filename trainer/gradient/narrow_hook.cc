// Comm hooks that round buckets to 16 bits.
#include <ATen/Functions.h>

#include <map>

#include "rondo/comm_hook.h"

namespace rondo {
namespace {

/// A bucket rounded to 16 bits; its collectives are those of the wide one.
class NarrowBucket final : public HookBucket {
 public:
  NarrowBucket(HookBucket& wide, const at::Tensor& narrow) : wide_(wide) {
    index = wide.index;
    is_last = wide.is_last;
    weight = wide.weight;
    names = wide.names;
    buffer = narrow;
    for (const at::Tensor& gradient : wide.gradients) {
      gradients.push_back(narrow.as_strided(gradient.sizes(), gradient.strides(), offset_in(wide.buffer, gradient)));
    }
  }
  void mean(const at::Tensor& tensor) override { wide_.mean(tensor); }
  void all_gather(const at::Tensor& input, const at::Tensor& output) override { wide_.all_gather(input, output); }
  void wait() override { wide_.wait(); }
  int world_size() const override { return wide_.world_size(); }

 private:
  static int64_t offset_in(const at::Tensor& buffer, const at::Tensor& gradient) {
    const auto* const base = static_cast<const std::byte*>(buffer.const_data_ptr());
    const auto* const data = static_cast<const std::byte*>(gradient.const_data_ptr());
    return (data - base) / static_cast<int64_t>(buffer.element_size());
  }
  HookBucket& wide_;
};

class NarrowHook final : public CommHook {
 public:
  NarrowHook(Narrow narrow, std::shared_ptr<CommHook> inner) : narrow_(narrow), inner_(std::move(inner)) {}

  std::string name() const override {
    const std::string own = narrow_ == Narrow::kFloat16 ? "fp16" : "bf16";
    return inner_ ? own + "(" + inner_->name() + ")" : own;
  }

  void launch(HookBucket& bucket) override {
    const at::Tensor scaled = headroom(bucket) == 1 ? bucket.buffer : bucket.buffer.div(headroom(bucket));
    auto& narrow = in_flight_[bucket.index];
    narrow = std::make_unique<NarrowBucket>(bucket, scaled.to(narrow_ == Narrow::kFloat16 ? at::kHalf : at::kBFloat16));
    if (inner_) return inner_->launch(*narrow);
    bucket.mean(narrow->buffer);
  }

  void finish(HookBucket& bucket) override {
    const auto narrow = std::move(in_flight_.extract(bucket.index).mapped());
    if (inner_) {
      inner_->finish(*narrow);
    } else {
      bucket.wait();
    }
    bucket.buffer.copy_(narrow->buffer);
    if (headroom(bucket) != 1) bucket.buffer.mul_(headroom(bucket));
  }

  State state() const override { return inner_ ? inner_->state() : State(); }
  void restore(const State& state) override {
    if (inner_) inner_->restore(state);
  }

 private:
  // bfloat16 has the range of float32.
  double headroom(const HookBucket& bucket) const { return narrow_ == Narrow::kFloat16 ? bucket.world_size() : 1; }

  const Narrow narrow_;
  const std::shared_ptr<CommHook> inner_;  // shared with the user; may be empty
  std::map<int, std::unique_ptr<NarrowBucket>> in_flight_;
};

}  // namespace

std::shared_ptr<CommHook> bf16_hook() { return std::make_shared<NarrowHook>(Narrow::kBFloat16, nullptr); }
std::shared_ptr<CommHook> fp16_hook() { return std::make_shared<NarrowHook>(Narrow::kFloat16, nullptr); }
std::shared_ptr<CommHook> narrow_hook(Narrow narrow, std::shared_ptr<CommHook> inner) {
  return std::make_shared<NarrowHook>(narrow, std::move(inner));
}

}  // namespace rondo
