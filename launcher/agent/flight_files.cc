#include "launcher/agent/flight_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "launcher/base/descriptor.h"
#include "launcher/report/symbols.h"
#include "rondo/comm/flight.h"

namespace rondo::launcher {

comm::Result<comm::Region> make_flight_memory(int rank) {
  return comm::Region::allocate(comm::kFlightBytes, "the flight recorder of rank " + std::to_string(rank));
}

std::string flight_path(const std::string& run_directory, int rank) {
  char name[32];
  std::snprintf(name, sizeof name, "rank-%04d.bin", rank);
  return run_directory + "/flight/" + name;
}

comm::Status keep_flight(const std::string& run_directory, int rank, std::span<const std::byte> record) {
  const std::string folder = run_directory + "/flight";
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return system_error("cannot make " + folder);
  const std::string path = flight_path(run_directory, rank);
  std::string part = path + ".XXXXXX";  // another host may be writing the same
  const Descriptor file(::mkostemp(part.data(), O_CLOEXEC));
  if (!file.open()) return system_error("cannot write " + part);
  comm::Status status = write_all(file, {reinterpret_cast<const char*>(record.data()), record.size()});
  if (status.ok() && (::fchmod(file.get(), 0644) != 0 || std::rename(part.c_str(), path.c_str()) != 0))
    status = system_error("cannot write " + path);
  if (!status.ok()) ::unlink(part.c_str());
  return status;
}

std::optional<RecordedCulprit> recorded_culprit(const comm::Region& memory) {
  const auto flight = comm::read_flight(memory.bytes());
  if (!flight.ok() || !flight->ending || flight->ending->culprit < 0) return std::nullopt;
  return RecordedCulprit{.rank = flight->ending->culprit, .timeout = flight->ending->code == comm::Code::kTimeout};
}

std::vector<std::string> recorded_stacks(const comm::Region& memory, int signal) {
  const auto flight = comm::read_flight(memory.bytes());
  if (!flight.ok() || !flight->stacks || flight->stacks->signal != signal) return {};
  return named_stacks(flight->stacks->text);
}

uint64_t stack_answers(const comm::Region& memory) {
  const auto flight = comm::read_flight(memory.bytes());
  return flight.ok() && flight->stacks ? flight->stacks->answers : 0;
}

std::optional<std::chrono::milliseconds> silence_of(const comm::Region& memory, comm::TimePoint now) {
  const auto flight = comm::read_flight(memory.bytes());
  if (!flight.ok() || flight->beat_ns == 0) return std::nullopt;
  const comm::TimePoint beat(std::chrono::duration_cast<comm::Duration>(std::chrono::nanoseconds(flight->beat_ns)));
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::max<comm::Duration>(now - beat, comm::Duration(0)));
}

}  // namespace rondo::launcher
