/// Schedules of all ranks as text for people and for programs. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "rondo/comm/schedule.h"
#include "rondo/comm/schedule_check.h"

namespace rondo::launcher {

/// The elements of the whole buffer that action `index` is about, also where it touches only scratch or wire memory.
/// Empty for signals and waits.
comm::Range elements_of(const comm::Schedule& schedule, size_t index);

/// A table for each hop with a row for each rank that takes part, then the totals.
std::string schedule_table(const std::vector<comm::Schedule>& ranks);

/// What the proof says, in words.
std::string proof_text(const std::vector<comm::Schedule>& ranks, const comm::Proof& proof);

/// One JSON object, every action included; `proof` may be null.
std::string schedule_json(const std::vector<comm::Schedule>& ranks, const comm::Proof* proof);

/// The algorithms, a line each, or as a JSON array.
std::string algorithm_list();
std::string algorithm_json();

}  // namespace rondo::launcher
