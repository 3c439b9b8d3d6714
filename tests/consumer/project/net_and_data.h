/// What README's program leaves to its reader: a model and data. Small and synthetic; the model says at its end what
/// the test wants to know: "consumer: N samples, parameters HASH, right R".
#pragma once

#include <torch/torch.h>

#include <atomic>
#include <cstdio>
#include <cstring>

inline constexpr int64_t kSampleCount = 1000;

inline std::atomic<int64_t>& handed_out() {
  static std::atomic<int64_t> count{0};
  return count;
}

/// Two classes in the plane: the sign of x + 2y. Different at every index.
class MyDataset : public torch::data::datasets::Dataset<MyDataset> {
 public:
  torch::data::Example<> get(size_t index) override {
    ++handed_out();
    const auto at = static_cast<double>(index);
    const double x = std::sin(at), y = std::cos(at * 1.7);
    return {torch::tensor({x, y}, torch::kFloat32), torch::tensor(x + 2 * y > 0 ? 1 : 0, torch::kInt64)};
  }
  std::optional<size_t> size() const override { return kSampleCount; }
};

struct NetImpl : torch::nn::Module {
  NetImpl() {
    hidden = register_module("hidden", torch::nn::Linear(2, 16));
    output = register_module("output", torch::nn::Linear(16, 2));
  }

  ~NetImpl() override {
    torch::NoGradGuard no_grad;
    uint64_t hash = 1469598103934665603ULL;  // FNV-1a over the parameters' bytes
    for (const auto& parameter : parameters()) {
      const auto flat = parameter.contiguous();
      const auto* bytes = static_cast<const unsigned char*>(flat.data_ptr());
      for (size_t i = 0; i < flat.nbytes(); ++i) hash = (hash ^ bytes[i]) * 1099511628211ULL;
    }
    const int64_t samples = handed_out();
    MyDataset data;
    int64_t right = 0;
    for (int64_t i = 0; i < kSampleCount; ++i) {
      const auto example = data.get(static_cast<size_t>(i));
      right += forward(example.data.unsqueeze(0)).argmax(1).item<int64_t>() == example.target.item<int64_t>();
    }
    std::printf("consumer: %lld samples, parameters %016llx, right %lld\n", static_cast<long long>(samples),
                static_cast<unsigned long long>(hash), static_cast<long long>(right));
    std::fflush(stdout);
  }

  torch::Tensor forward(const torch::Tensor& points) { return output(torch::relu(hidden(points))); }

  torch::nn::Linear hidden{nullptr}, output{nullptr};
};
TORCH_MODULE(Net);
