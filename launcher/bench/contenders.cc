#include "launcher/bench/contenders.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "launcher/base/text.h"
#include "launcher/cli/nearest_name.h"

namespace rondo::launcher {
namespace {

struct RivalName {
  const char* name;
  Rival rival;
};
constexpr std::array kRivals{RivalName{"gloo", Rival::kGloo}, RivalName{"openmpi", Rival::kOpenMpi},
                             RivalName{"mpich", Rival::kMpich}};

/// For all operations, or for all_reduce alone: the other operations have no such choice.
enum class For : uint8_t { kAll, kAllReduce };

struct Setting {
  const char* variant;  // "" is what the library chooses by itself
  For operations = For::kAll;
  const char* flags = "";        // of mpirun
  const char* environment = "";  // NAME=value
};

// Both MPIs and Gloo take scratch memory anew in each call; without these the C library gives it back each time and
// every call pays for its pages: twice the time at 64 MiB.
constexpr std::array kKeepMemory{"MALLOC_MMAP_MAX_=0", "MALLOC_TRIM_THRESHOLD_=1099511627776"};

constexpr std::array kOpenMpi{
    Setting{"", For::kAll},
    Setting{"copy-in-out", For::kAll, "--mca btl_vader_single_copy_mechanism none"},
    Setting{"recursive-doubling", For::kAllReduce,
            "--mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm 3"},
    Setting{"ring", For::kAllReduce, "--mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm 4"},
    Setting{"rabenseifner", For::kAllReduce,
            "--mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm 6"},
};
constexpr std::array kMpich{
    Setting{"", For::kAll},
    Setting{"release-gather", For::kAllReduce, "", "MPIR_CVAR_ALLREDUCE_POSIX_INTRA_ALGORITHM=release_gather"},
    Setting{"recursive-doubling", For::kAllReduce, "", "MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM=recursive_doubling"},
    Setting{"rabenseifner", For::kAllReduce, "", "MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM=reduce_scatter_allgather"},
};
// "polled" spins on its sockets: of no use where ranks share cores.
constexpr const char* kPolled = "halving-doubling-polled";
constexpr std::array kGloo{
    Setting{"ring", For::kAll},
    Setting{"bcube", For::kAllReduce},
    Setting{"halving-doubling", For::kAllReduce},
    Setting{kPolled, For::kAllReduce},
    Setting{"ring-chunked", For::kAllReduce},
};

std::vector<std::string> words_of(const char* text) {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

void append(std::vector<std::string>& to, const std::vector<std::string>& words) {
  to.insert(to.end(), words.begin(), words.end());
}

Contender make(const char* library, Camp camp, const Setting& setting) {
  Contender contender;
  contender.name = library;
  if (*setting.variant != '\0') contender.name += std::string("-") + setting.variant;
  contender.camp = camp;
  contender.driver = std::string("rondo-bench-") + library;
  contender.variant = setting.variant;
  contender.environment.assign(kKeepMemory.begin(), kKeepMemory.end());
  append(contender.environment, words_of(setting.environment));
  return contender;
}

Contender make_openmpi(const Setting& setting, const Field& field) {
  Contender contender = make("openmpi", Camp::kMpi, setting);
  // The drivers bind themselves; as root Open MPI wants to be asked twice.
  append(contender.environment, {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"});
  contender.starter = {"mpirun.openmpi", "--bind-to", "none"};
  if (field.cores == Field::Cores::kShared) contender.starter.emplace_back("--oversubscribe");
  append(contender.starter, words_of(setting.flags));
  contender.starter.emplace_back("-np");
  return contender;
}

Contender make_mpich(const Setting& setting) {
  Contender contender = make("mpich", Camp::kMpi, setting);
  contender.starter = {"mpirun.mpich", "-np"};
  return contender;
}

}  // namespace

comm::Result<std::vector<Rival>> parse_rivals(const std::string& text) {
  std::vector<Rival> rivals;
  std::vector<std::string> names;
  for (const RivalName& known : kRivals) names.emplace_back(known.name);
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) {
    const auto* known =
        std::find_if(kRivals.begin(), kRivals.end(), [&](const RivalName& rival) { return word == rival.name; });
    if (known == kRivals.end()) {
      return comm::Status(comm::Code::kInvalidArgument, "--against " + text + ": unknown rival '" + word + "'" +
                                                            suggestion(word, names) +
                                                            "; there are gloo, openmpi and mpich");
    }
    if (std::find(rivals.begin(), rivals.end(), known->rival) == rivals.end()) rivals.push_back(known->rival);
  }
  if (rivals.empty()) {
    return comm::Status(comm::Code::kInvalidArgument, "--against: which rivals? There are gloo, openmpi and mpich");
  }
  return rivals;
}

std::string camp_name(Camp camp) {
  switch (camp) {
    case Camp::kOurs:
      return "Rondo";
    case Camp::kMpi:
      return "MPI";
    case Camp::kGloo:
      return "Gloo";
  }
  return "";
}

std::vector<Contender> contenders(std::span<const Rival> rivals, const Field& field) {
  std::vector<Contender> all{{.name = "rondo", .camp = Camp::kOurs, .driver = "rondo-comm-bench"}};
  const auto fits = [&](const Setting& setting) {
    if (setting.variant == std::string(kPolled) && field.cores == Field::Cores::kShared) return false;
    return setting.operations == For::kAll || field.operation == "all_reduce";
  };
  for (const Rival rival : rivals) {
    switch (rival) {
      case Rival::kGloo:
        if (field.operation == "reduce_scatter") break;  // Debian's Gloo has none
        for (const Setting& setting : kGloo) {
          if (fits(setting)) all.push_back(make("gloo", Camp::kGloo, setting));
        }
        break;
      case Rival::kOpenMpi:
        for (const Setting& setting : kOpenMpi) {
          if (fits(setting)) all.push_back(make_openmpi(setting, field));
        }
        break;
      case Rival::kMpich:
        for (const Setting& setting : kMpich) {
          if (fits(setting)) all.push_back(make_mpich(setting));
        }
        break;
    }
  }
  return all;
}

std::vector<size_t> running_order(size_t contender_count, int round) {
  std::vector<size_t> order;
  for (size_t i = 0; i < contender_count; ++i) {
    order.push_back((i + static_cast<size_t>(round - 1)) % contender_count);
  }
  return order;
}

Start start_of(const Contender& contender, const std::string& driver_path, const std::vector<std::string>& flags,
               int ranks) {
  Start start;
  if (!contender.environment.empty()) {
    start.words.emplace_back("env");
    append(start.words, contender.environment);
  }
  start.processes = contender.starter.empty() ? ranks : 1;
  append(start.words, contender.starter);
  if (!contender.starter.empty()) start.words.push_back(std::to_string(ranks));
  start.words.push_back(driver_path);
  append(start.words, flags);
  if (!contender.variant.empty()) append(start.words, {"--variant", contender.variant});
  return start;
}

std::string settings_text(const Contender& contender) {
  std::vector<std::string> words = contender.environment;
  append(words, contender.starter);
  return shell_quoted(words);
}

}  // namespace rondo::launcher
