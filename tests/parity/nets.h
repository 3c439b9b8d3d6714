/// The nets of the parity cases, with the names and the registration order of oracle/nets.py: a tensor's name means the
/// same in both languages.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>

namespace rondo::test {

/// Which way a sample goes through "branches"; other nets have one way.
enum class Route : uint8_t { kLeft = 0, kRight = 1, kBoth = 2 };

class ParityNet : public torch::nn::Module {
 public:
  virtual torch::Tensor forward(const torch::Tensor& x, Route route) = 0;
};

/// "mlp", "cnn", "resnet8" (BatchNorm), "gpt" (tied embedding), "branches" (parameters that a step does not use).
/// Throws rondo::Error for another name.
std::shared_ptr<ParityNet> make_parity_net(const std::string& name, int64_t width);

}  // namespace rondo::test
