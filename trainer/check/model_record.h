/// What the parameters of a module were when its gradients were last planned, so that what was done to them since can
/// be named. Pure, but for record_of().
#pragma once

#include <string>
#include <vector>

#include "rondo/findings.h"

namespace torch::nn {
class Module;
}

namespace rondo::trainer {

struct ParameterRecord {
  std::string name;
  const void* tensor = nullptr;  // only compared: it may be gone
  const void* data = nullptr;    // null: no elements
  std::string form;              // "float32 [3, 4] strides [1, 3]"
  std::string device;            // "cpu"
  bool needs_gradient = false;
};
/// Under each of their names, in order of registration.
using ModelRecord = std::vector<ParameterRecord>;
ModelRecord record_of(const torch::nn::Module& module);

struct RecordPair {
  const ModelRecord& before;
  const ModelRecord& now;
};
/// changed-after-wrap, broken-tie; without ranks.
std::vector<Finding> changes(const RecordPair& of);

}  // namespace rondo::trainer
