// PowerSGD. For a gradient M of n x m, as a matrix, all ranks with the same Q of m x r:
//
//   P = mean over ranks of M Q        n x r travel
//   P = orthogonalise(P)
//   Q = mean over ranks of M^T P      m x r travel
//   result = P Q^T                    what it lacks of M is this rank's error, added to its next gradient
//
// n = m = 1024, r = 4: 32 KB instead of 4 MB.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>

#include <map>

#include "rondo/comm_hook.h"
#include "rondo/error.h"
#include "rondo/random_streams.h"

namespace rondo {
namespace {

/// Gram-Schmidt on the columns of `matrix`, in place. What the first projection leaves of a column that depends on the
/// others is rounding, and the second shows it: such a column becomes zero. (Kahan's "twice is enough".)
void orthogonalise(const at::Tensor& matrix) {
  for (int64_t i = 0; i < matrix.size(1); ++i) {
    const at::Tensor column = matrix.narrow(1, i, 1), before = matrix.narrow(1, 0, i);
    for (const double least : {0.0, 0.5}) {
      if (i > 0) column.sub_(before.matmul(before.t().matmul(column)));
      const double norm = column.norm().item<double>();
      if (norm <= least) {
        column.zero_();
        break;
      }
      column.div_(norm);
    }
  }
}

class PowerSgd final : public CommHook {
 public:
  explicit PowerSgd(const PowerSgdOptions& options) : options_(options) {
    if (options.rank < 1 || options.start_step < 0 || options.min_compression_rate < 0) {
      throw Error("PowerSGD needs rank >= 1, start_step >= 0 and min_compression_rate >= 0", ExitCode::kUsage);
    }
  }

  std::string name() const override {
    return "PowerSGD rank " + std::to_string(options_.rank) + " from step " + std::to_string(options_.start_step) +
           (options_.use_error_feedback ? ", error feedback" : "") + (options_.warm_start ? ", warm start" : "");
  }

  void launch(HookBucket& bucket) override {
    if (bucket.index == 0) ++backwards_;
    Flight& flight = flights_[bucket.index] = {};
    if (backwards_ <= options_.start_step) return bucket.mean(bucket.buffer);
    std::vector<at::Tensor> factors, rest;
    for (size_t i = 0; i < bucket.gradients.size(); ++i) {
      const at::Tensor& gradient = bucket.gradients[i];
      if (!shrinks(gradient)) {
        flight.rest.push_back(gradient);
        rest.push_back(gradient.reshape(-1));
        continue;
      }
      Factored factored{.name = bucket.names[i], .gradient = gradient, .matrix = matrix_of(gradient)};
      Memory& memory = memories_[factored.name];
      if (memory.error.defined()) factored.matrix = factored.matrix.add(memory.error);
      draw_missing(memory.q, factored);
      orthogonalise(memory.q);
      factors.push_back(factored.matrix.matmul(memory.q));
      flight.factored.push_back(std::move(factored));
    }
    flight.factors = packed(factors, bucket);
    flight.packed_rest = packed(rest, bucket);
    for (const at::Tensor& tensor : {flight.factors, flight.packed_rest}) {
      if (tensor.defined()) bucket.mean(tensor);
    }
  }

  void finish(HookBucket& bucket) override {
    const Flight flight = std::move(flights_.extract(bucket.index).mapped());
    bucket.wait();
    if (backwards_ <= options_.start_step) return;
    unpack(flight.packed_rest, flight.rest);
    if (flight.factored.empty()) return;

    std::vector<at::Tensor> ps, qs;
    for (const Factored& factored : flight.factored) {
      ps.push_back(at::empty({factored.matrix.size(0), rank_of(factored.matrix)}, factored.matrix.options()));
    }
    unpack(flight.factors, ps);
    for (size_t i = 0; i < ps.size(); ++i) {
      orthogonalise(ps[i]);
      qs.push_back(flight.factored[i].matrix.t().matmul(ps[i]));
    }
    const at::Tensor packed_qs = packed(qs, bucket);
    bucket.mean(packed_qs);
    bucket.wait();
    unpack(packed_qs, qs);
    for (size_t i = 0; i < ps.size(); ++i) {
      const Factored& factored = flight.factored[i];
      const at::Tensor result = ps[i].matmul(qs[i].t());
      factored.gradient.copy_(result.view(factored.gradient.sizes()));
      // An overflow on some rank, which all see here alike: remembered, it would spoil every later step.
      if (!at::isfinite(qs[i]).all().item<bool>()) continue;
      Memory& memory = memories_[factored.name];
      memory.q = qs[i];
      if (options_.use_error_feedback && bucket.weight > 0) memory.error = factored.matrix.sub(result);
    }
  }

  State state() const override {
    State state{{"backwards", at::scalar_tensor(backwards_, at::kLong)}};
    for (const auto& [name, memory] : memories_) {
      if (memory.q.defined()) state.emplace_back(name + "/q", memory.q);
      if (memory.error.defined()) state.emplace_back(name + "/error", memory.error);
    }
    return state;
  }

  void restore(const State& state) override {
    memories_.clear();
    for (const auto& [key, tensor] : state) {
      const size_t slash = key.rfind('/');
      if (key == "backwards") {
        backwards_ = tensor.item<int64_t>();
      } else if (key.ends_with("/q")) {
        memories_[key.substr(0, slash)].q = tensor.clone();
      } else if (key.ends_with("/error")) {
        memories_[key.substr(0, slash)].error = tensor.clone();
      } else {
        throw Error("PowerSGD has no state named \"" + key + "\"", ExitCode::kUsage);
      }
    }
  }

 private:
  struct Memory {
    at::Tensor q, error;  // (m, r), (n, m)
  };
  struct Factored {
    std::string name;
    at::Tensor gradient, matrix;  // matrix: (n, m), with the error of before
  };
  struct Flight {
    std::vector<Factored> factored;
    at::Tensor factors;            // every P, one after the other
    std::vector<at::Tensor> rest;  // gradients that travel as they are
    at::Tensor packed_rest;
  };

  static at::Tensor matrix_of(const at::Tensor& gradient) {
    return gradient.reshape({gradient.size(0), -1})
        .to(gradient.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  }
  int64_t rank_of(const at::Tensor& matrix) const { return std::min({options_.rank, matrix.size(0), matrix.size(1)}); }
  bool shrinks(const at::Tensor& gradient) const {
    if (gradient.dim() < 2 || gradient.numel() == 0) return false;
    const int64_t n = gradient.size(0), m = gradient.numel() / n;
    const auto travels = static_cast<double>((n + m) * std::min({options_.rank, n, m}));
    return travels * options_.min_compression_rate <= static_cast<double>(n * m);
  }
  /// Random numbers, equal on all ranks, for the columns of `q` that say nothing: at first all.
  void draw_missing(at::Tensor& q, const Factored& factored) const {
    const bool warm = options_.warm_start && q.defined();
    const at::Tensor empty = warm ? at::linalg_vector_norm(q, 2, {0}).eq(0) : at::Tensor();
    if (warm && !empty.any().item<bool>()) return;
    const auto generator = at::detail::createCPUGenerator(
        stream_seed(options_.seed + static_cast<uint64_t>(backwards_), factored.name, {}));
    const at::Tensor drawn =
        at::randn({factored.matrix.size(1), rank_of(factored.matrix)}, generator, factored.matrix.options());
    q = warm ? at::where(empty, drawn, q) : drawn;
  }
  static at::Tensor packed(const std::vector<at::Tensor>& tensors, const HookBucket& bucket) {
    std::vector<at::Tensor> flat;
    for (const at::Tensor& tensor : tensors) flat.push_back(tensor.reshape(-1).to(bucket.buffer.scalar_type()));
    return flat.empty() ? at::Tensor() : at::cat(flat);
  }
  static void unpack(const at::Tensor& packed, const std::vector<at::Tensor>& tensors) {
    int64_t at = 0;
    for (const at::Tensor& tensor : tensors) {
      tensor.copy_(packed.narrow(0, at, tensor.numel()).view(tensor.sizes()));
      at += tensor.numel();
    }
  }

  const PowerSgdOptions options_;
  int64_t backwards_ = 0;
  std::map<std::string, Memory> memories_;  // by parameter
  std::map<int, Flight> flights_;           // by bucket
};

}  // namespace

std::shared_ptr<CommHook> power_sgd_hook(const PowerSgdOptions& options) { return std::make_shared<PowerSgd>(options); }

}  // namespace rondo
