#include "comm/schedule/measured.h"

#include <cmath>
#include <iomanip>
#include <locale>
#include <sstream>

namespace rondo::comm {
namespace {

constexpr const char* kTitle = "rondo-measured-1";
constexpr size_t kMostTimings = 16;
// A gain that is smaller is noise: then stores stay plain, which leaves the line where its owner writes it next.
constexpr double kWorthIt = 0.9;

std::string rounded(double value, int digits) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << std::fixed << std::setprecision(digits) << value;
  return text.str();
}

std::string cost_text(const LinkCost& cost) {
  return "alpha " + rounded(cost.alpha_us, 2) + " us, beta " + rounded(cost.beta_ns, 4) + " ns a byte, adding " +
         rounded(cost.gamma_ns, 4) + " ns a byte\n";
}

/// Reads and writes numbers whatever the program's locale.
void write_cost(std::ostream& out, const char* word, const std::optional<LinkCost>& cost) {
  if (cost) out << ' ' << word << ' ' << cost->alpha_us << ' ' << cost->beta_ns << ' ' << cost->gamma_ns;
}

bool plausible(const LinkCost& cost) {
  return std::isfinite(cost.alpha_us) && std::isfinite(cost.beta_ns) && std::isfinite(cost.gamma_ns) &&
         cost.alpha_us >= 0 && cost.beta_ns >= 0 && cost.gamma_ns >= 0;
}

}  // namespace

StoreKind StoreTiming::faster() const {
  return non_temporal_us < kWorthIt * plain_us ? StoreKind::kNonTemporal : StoreKind::kPlain;
}

std::string Measured::encode() const {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  out << std::setprecision(17) << kTitle << " took " << took_us;
  write_cost(out, "messages", messages);
  write_cost(out, "memory", memory);
  for (const StoreTiming& each : staging)
    out << " staging " << each.byte_count << ' ' << each.plain_us << ' ' << each.non_temporal_us;
  return out.str();
}

Result<Measured> Measured::decode(const std::string& text) {
  const auto corrupt = [&] { return Status(Code::kCorrupt, "\"" + text + "\" is no table of measured costs"); };
  std::istringstream in(text);
  in.imbue(std::locale::classic());
  Measured result;
  std::string word;
  if (!(in >> word) || word != kTitle) return corrupt();
  while (in >> word) {
    if (word == "took") {
      in >> result.took_us;
    } else if (word == "messages" || word == "memory") {
      LinkCost cost;
      in >> cost.alpha_us >> cost.beta_ns >> cost.gamma_ns;
      if (!in || !plausible(cost)) return corrupt();
      (word == "memory" ? result.memory : result.messages) = cost;
    } else if (word == "staging" && result.staging.size() < kMostTimings) {
      StoreTiming timing;
      in >> timing.byte_count >> timing.plain_us >> timing.non_temporal_us;
      result.staging.push_back(timing);
    } else {
      return corrupt();
    }
    if (!in) return corrupt();
  }
  return result;
}

std::string Measured::describe() const {
  std::string text;
  if (messages) text += "messages: " + cost_text(*messages);
  if (memory) text += "shared memory: " + cost_text(*memory);
  for (const StoreTiming& each : staging)
    text += "staging " + std::to_string(each.byte_count / 1024) + " KiB: " + rounded(each.plain_us, 1) +
            " us by plain stores, " + rounded(each.non_temporal_us, 1) + " us by non-temporal ones\n";
  return text + "timed between ranks 0 and 1, in " + rounded(took_us / 1000, 1) + " ms\n";
}

}  // namespace rondo::comm
