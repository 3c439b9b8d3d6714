/// Comm hooks: other ways to average a bucket of gradients than summing it as it is.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rondo {

/// A bucket on its way, as a hook sees it. The same sequence of mean() and all_gather() calls on every rank.
class HookBucket {
 public:
  virtual ~HookBucket();

  int index = 0;  // in launch order
  bool is_last = false;
  double weight = 1;  // of this rank, see DistributedDataParallel::weigh(); 0: the content means nothing
  at::Tensor buffer;  // (elements): the whole bucket, with the gaps that alignment leaves
  std::vector<at::Tensor> gradients;  // views of `buffer` in the shapes of the parameters;
                                      // of complex ones two real numbers: (..., 2)
  std::vector<std::string> names;     // of the parameters

  /// Starts to replace `tensor` (dense, floating point) by its mean over the ranks, weighted by `weight`; a rank of
  /// weight 0 adds nothing. Does not block; the tensor is kept until wait().
  virtual void mean(const at::Tensor& tensor) = 0;
  /// Starts to gather `input` of every rank, as bytes: output is (world_size, ...) of it.
  virtual void all_gather(const at::Tensor& input, const at::Tensor& output) = 0;
  /// Until everything started on this bucket is done. Throws rondo::Error when a peer is lost.
  virtual void wait() = 0;
  virtual int world_size() const = 0;
};

/// Called on the thread that runs backward, without autograd.
class CommHook {
 public:
  virtual ~CommHook();
  /// "bf16"; compared over ranks.
  virtual std::string name() const = 0;
  /// The bucket is full: starts what can be started. In the order of buckets; must not wait.
  virtual void launch(HookBucket& bucket) = 0;
  /// After every bucket was launched, in the same order: leaves the mean in bucket.buffer, bit-equal on all ranks.
  virtual void finish(HookBucket& bucket) = 0;

  /// What a checkpoint must keep, of this rank alone; by default nothing.
  using State = std::vector<std::pair<std::string, at::Tensor>>;
  virtual State state() const { return {}; }
  virtual void restore(const State&) {}
};

/// Gradients travel in bfloat16: half the bytes. The sum is made in float32 and rounded once.
std::shared_ptr<CommHook> bf16_hook();
/// Gradients travel in float16, divided by the world size before they are rounded, so that a mean that fits does not
/// overflow on the way. Losses that were given to weigh() are multiplied by their counts, and their gradients do: take
/// bf16_hook() there.
std::shared_ptr<CommHook> fp16_hook();

enum class Narrow : uint8_t { kFloat16, kBFloat16 };
/// `inner` works on a bucket that was rounded to `narrow`; its result is widened again.
std::shared_ptr<CommHook> narrow_hook(Narrow narrow, std::shared_ptr<CommHook> inner);

/// PowerSGD: a gradient of n x m travels as two factors of n x rank and m x rank; what they lose is added to the next
/// gradient. Source: Vogels, Karimireddy, Jaggi, "PowerSGD: practical low-rank gradient compression for distributed
/// optimization". Replicas stay bit-equal where all ranks run the same kind of CPU.
struct PowerSgdOptions {
  int64_t rank = 1;
  int64_t start_step = 1000;        // synced backwards before it that are averaged as they are
  double min_compression_rate = 2;  // gradients that would shrink less travel as they are
  bool use_error_feedback = true;
  bool warm_start = true;  // the second factor starts from its last value
  uint64_t seed = 0;
};
/// Memory: with error feedback one more gradient-size buffer. State: that buffer and the second factors.
std::shared_ptr<CommHook> power_sgd_hook(const PowerSgdOptions& options = {});

}  // namespace rondo
