/// Reads the pickles that Python's torch.save writes, as data: what a pickle would call is looked up in a short list of
/// names for tensors and dicts, and anything else becomes an opaque value. No code from a file is ever run.
///
/// LibTorch's own unpickler takes no collections.OrderedDict, which every state_dict is.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondo::trainer {

struct PickleNode {
  enum class Kind : uint8_t { kNone, kBool, kInteger, kReal, kText, kTensor, kDict, kList, kName, kStorage, kOpaque };
  Kind kind = Kind::kNone;
  int64_t integer = 0;  // kBool, kInteger; of a kStorage its number of elements
  double real = 0;
  std::string text;  // kText; "module name" of a kName; the key of a kStorage; what a kOpaque would have been made by
  at::Tensor tensor;
  at::ScalarType dtype = at::kFloat;                         // kStorage
  std::vector<PickleNode*> items;                            // kList, tuples and sets included
  std::vector<std::pair<PickleNode*, PickleNode*>> entries;  // kDict, in its order

  /// Null when this is no dict or has no such key.
  const PickleNode* find(std::string_view key) const;
};

/// The content of one pickle. Nodes refer to each other, so it is not copied.
class Pickle {
 public:
  /// A whole storage, by its key in the file, as a tensor of one dimension.
  using ReadStorage = std::function<at::Tensor(const std::string& key, at::ScalarType dtype, int64_t element_count)>;
  /// Throws rondo::Error, kCorrupt, saying at which byte and what; protocols 2 to 4.
  Pickle(std::string_view bytes, const ReadStorage& read_storage);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const PickleNode& root() const { return *root_; }

 private:
  friend class PickleMachine;
  std::deque<PickleNode> nodes_;  // owns all; nodes never own each other, so depth costs no stack
  PickleNode* root_ = nullptr;
};

}  // namespace rondo::trainer
