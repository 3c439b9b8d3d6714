/// The verbs of `rondo`. Each takes the arguments after its name and returns the exit code.
#pragma once

#include <string>
#include <vector>

namespace rondo::launcher {

/// `rondo run`: starts any program once per rank.
int run_command(const std::vector<std::string>& arguments);
/// `rondo train`: starts a shipped recipe once per rank.
int train_command(const std::vector<std::string>& arguments);
/// `rondo schedule`: an algorithm as a table.
int schedule_command(const std::vector<std::string>& arguments);
/// `rondo explain`: reads the flight records of a run.
int explain_command(const std::vector<std::string>& arguments);
/// `rondo bench`: measures collectives, alone or beside rivals.
int bench_command(const std::vector<std::string>& arguments);
/// `rondo bench train`: measures training, alone or beside PyTorch.
int bench_train_command(const std::vector<std::string>& arguments);
/// `rondo ckpt`: lists, shows, verifies and exports checkpoints.
int ckpt_command(const std::vector<std::string>& arguments);
/// `rondo version`.
int version_command(const std::vector<std::string>& arguments);

}  // namespace rondo::launcher
