/// Programs of several processes, run in an empty folder that is removed afterwards.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace rondo::test {

struct Ended {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

inline Ended run_in_empty_folder(const std::string& command) {
  std::string folder = std::filesystem::temp_directory_path() / "rondo-processes-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return {};
  Ended ended;
  FILE* pipe = popen(("cd " + folder + " && timeout 60 " + command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ended;
  std::array<char, 4096> part{};
  while (const size_t count = fread(part.data(), 1, part.size(), pipe)) ended.output.append(part.data(), count);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) ended.exit_code = WEXITSTATUS(status);
  std::filesystem::remove_all(folder);
  return ended;
}

/// Two ranks of `program` without an agent that would stop the survivor: torchrun's variables by hand. The port only
/// names the meeting point. `afterwards`: a command for when both have ended.
inline Ended run_two_by_hand(const std::string& program, const std::string& afterwards = "true") {
  const std::string place = "WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=" +
                            std::to_string(20'000 + getpid() % 40'000) + " ";
  const auto rank = [&](const std::string& number) {
    return "RANK=" + number + " LOCAL_RANK=" + number + " " + place + program;
  };
  return run_in_empty_folder("sh -c '" + rank("1") + " & " + rank("0") + "; echo rank 0 ended with $?; wait; " +
                             afterwards + "'");
}

}  // namespace rondo::test
