#include "trainer/gradient/model_table.h"

#include <algorithm>
#include <sstream>

namespace rondo::trainer {
namespace {

constexpr char kSeparator = '\t';

std::string title(const ModelEntry& entry) { return entry.kind + " \"" + entry.name + "\""; }

std::string has(const RankTable& side, size_t at) {
  const std::string who = "rank " + std::to_string(side.rank) + " has ";
  if (at >= side.table.size()) return who + "no more entries";
  return who + title(side.table[at]) + " " + side.table[at].what;
}

bool contains(const ModelTable& table, const ModelEntry& like) {
  return std::ranges::any_of(table, [&](const ModelEntry& e) { return e.kind == like.kind && e.name == like.name; });
}

std::string only(const RankTable& owner, const RankTable& other, size_t at) {
  return title(owner.table[at]) + ": rank " + std::to_string(owner.rank) + " has " + owner.table[at].what + ", rank " +
         std::to_string(other.rank) + " has none";
}

}  // namespace

std::string to_text(const ModelTable& table) {
  std::string text;
  for (const ModelEntry& entry : table) text += entry.kind + kSeparator + entry.name + kSeparator + entry.what + "\n";
  return text;
}

ModelTable parse_model_table(const std::string& text) {
  ModelTable table;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    ModelEntry entry;
    std::istringstream fields(line);
    std::getline(fields, entry.kind, kSeparator);
    std::getline(fields, entry.name, kSeparator);
    std::getline(fields, entry.what);
    table.push_back(std::move(entry));
  }
  return table;
}

std::optional<std::string> difference(const RankTable& a, const RankTable& b) {
  size_t at = 0;
  while (at < a.table.size() && at < b.table.size() && a.table[at] == b.table[at]) ++at;
  if (at == a.table.size() && at == b.table.size()) return std::nullopt;
  const bool in_both = at < a.table.size() && at < b.table.size();
  if (in_both && a.table[at].kind == b.table[at].kind && a.table[at].name == b.table[at].name) {
    return title(a.table[at]) + ": rank " + std::to_string(a.rank) + " has " + a.table[at].what + ", rank " +
           std::to_string(b.rank) + " has " + b.table[at].what;
  }
  if (at < a.table.size() && !contains(b.table, a.table[at])) return only(a, b, at);
  if (at < b.table.size() && !contains(a.table, b.table[at])) return only(b, a, at);
  return "entry " + std::to_string(at) + " of the model: " + has(a, at) + ", " + has(b, at);
}

}  // namespace rondo::trainer
