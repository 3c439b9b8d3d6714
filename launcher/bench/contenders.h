/// Who is measured beside Rondo, with which settings, and how each is started. Pure.
///
/// A rival is measured with several settings; its best at each size counts.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "rondo/comm/status.h"

namespace rondo::launcher {

/// A library that `--against` names.
enum class Rival : uint8_t { kGloo, kOpenMpi, kMpich };

/// "gloo,openmpi,mpich"; kInvalidArgument with the nearest name.
comm::Result<std::vector<Rival>> parse_rivals(const std::string& text);

/// What ratios are quoted against: the best of all settings of all its libraries.
enum class Camp : uint8_t { kOurs, kMpi, kGloo };
std::string camp_name(Camp camp);

struct Contender {
  std::string name;  // "openmpi-ring"; rows carry it
  Camp camp = Camp::kOurs;
  std::string driver;                    // program beside `rondo`
  std::string variant;                   // what the driver is told
  std::vector<std::string> environment;  // NAME=value, on top of ours
  std::vector<std::string> starter;      // program and flags that start the ranks, up to their count; empty: we do
};

struct Field {
  std::string operation;
  int ranks = 2;
  enum class Cores : uint8_t { kOwn, kShared } cores = Cores::kOwn;
};

/// Rondo first, then every setting of `rivals` that makes sense here: none of a library that lacks the operation.
std::vector<Contender> contenders(std::span<const Rival> rivals, const Field& field);

/// The order of a round, which counts from 1: everyone is first once, so that no one always runs on a warm machine.
std::vector<size_t> running_order(size_t contender_count, int round);

/// A command to run once a rank, or once for all when a starter starts the ranks.
struct Start {
  std::vector<std::string> words;
  int processes = 1;
};
/// `driver_path`: where the driver is. `flags`: what every driver is told.
Start start_of(const Contender& contender, const std::string& driver_path, const std::vector<std::string>& flags,
               int ranks);

/// "MALLOC_MMAP_MAX_=0 mpirun.openmpi --bind-to none": for headers; empty when there are no settings.
std::string settings_text(const Contender& contender);

}  // namespace rondo::launcher
