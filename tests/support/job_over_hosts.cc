#include "tests/support/job_over_hosts.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "rondo/comm/env.h"

namespace rondo::test {
namespace {

/// A file of mode 0600 with 64 hexadecimal digits.
std::filesystem::path secret_file() {
  std::string name = (std::filesystem::temp_directory_path() / "rondo-test-secret-XXXXXX").string();
  const int file = ::mkstemp(name.data());  // mode 0600
  std::array<std::byte, 32> drawn{};
  comm::real_env()->random(drawn);
  std::string digits;
  for (const std::byte byte : drawn) {
    for (const unsigned half : {std::to_integer<unsigned>(byte) >> 4, std::to_integer<unsigned>(byte) & 15})
      digits += "0123456789abcdef"[half];
  }
  if (file < 0 || ::write(file, digits.data(), digits.size()) != static_cast<ssize_t>(digits.size()))
    throw std::runtime_error("cannot write " + name);
  ::close(file);
  return name;
}

char state_of(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t behind_name = text.rfind(") ");
  return behind_name == std::string::npos ? '?' : text[behind_name + 2];
}

}  // namespace

JobOverHosts::JobOverHosts(const Hosts& hosts, const Options& options)
    : ranks_per_host_(options.ranks_per_host), secret_(secret_file()) {
  const int world_size = hosts.count() * ranks_per_host_;
  for (int rank = 0; rank < world_size; ++rank) {
    Process::Options worker{
        .program = options.program, .arguments = options.arguments, .environment = options.environment};
    worker.environment.merge(
        std::map<std::string, std::string>{{"RANK", std::to_string(rank)},
                                           {"WORLD_SIZE", std::to_string(world_size)},
                                           {"LOCAL_RANK", std::to_string(rank % ranks_per_host_)},
                                           {"LOCAL_WORLD_SIZE", std::to_string(ranks_per_host_)},
                                           {"MASTER_ADDR", options.master},
                                           {"MASTER_PORT", "29500"},
                                           {"RONDO_SECRET_FILE", secret_.string()},
                                           {"RONDO_HOST_ID", "host-" + std::to_string(host_of(rank))}});
    if (rank == options.special) worker.arguments.push_back(options.special_argument);
    ranks_.emplace_back(hosts.on(host_of(rank), worker));
  }
}

JobOverHosts::~JobOverHosts() {
  std::error_code none;
  std::filesystem::remove(secret_, none);
}

void JobOverHosts::signal_all(int number) {
  for (const Process& rank : ranks_) rank.signal(number);
}

bool JobOverHosts::all_stopped(std::chrono::milliseconds deadline) const {
  const auto until = std::chrono::steady_clock::now() + deadline;
  for (const Process& rank : ranks_) {
    while (state_of(rank.pid()) != 'T') {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::yield();
    }
  }
  return true;
}

std::vector<std::pair<int, pid_t>> JobOverHosts::hosts_and_processes() const {
  std::vector<std::pair<int, pid_t>> all;
  for (size_t rank = 0; rank < ranks_.size(); ++rank)
    all.emplace_back(host_of(static_cast<int>(rank)), ranks_[rank].pid());
  return all;
}

}  // namespace rondo::test
