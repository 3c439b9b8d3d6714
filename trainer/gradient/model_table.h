/// What a rank says about its model before gradients may be mixed: a line for each parameter, buffer and option. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace rondo::trainer {

struct ModelEntry {
  std::string kind;  // "parameter", "buffer", "option"
  std::string name;
  std::string what;  // "float32 [64, 32, 3, 3]", "float32 [10], frozen"
  bool operator==(const ModelEntry&) const = default;
};
using ModelTable = std::vector<ModelEntry>;

/// One line an entry; the inverse of parse_model_table().
std::string to_text(const ModelTable& table);
ModelTable parse_model_table(const std::string& text);

/// The first difference, both sides named: `parameter "conv2.weight": rank 0 has float32 [64, 32, 3, 3], rank 1 has
/// float32 [48, 32, 3, 3]`. Empty when the tables are equal.
struct RankTable {
  int rank = 0;
  ModelTable table;
};
std::optional<std::string> difference(const RankTable& a, const RankTable& b);

}  // namespace rondo::trainer
