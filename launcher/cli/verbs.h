/// The verbs of `rondo`. Each takes the arguments after its name and returns the exit code.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace rondo::launcher {

/// Gets a verb's CLI11 tree, for completion. It lives during the call.
using DescribeVerb = std::function<void(const CLI::App&)>;

/// `rondo run`: starts any program once per rank.
int run_command(const std::vector<std::string>& arguments);
void describe_run(const DescribeVerb& take);
/// `rondo train`: starts a shipped recipe once per rank.
int train_command(const std::vector<std::string>& arguments);
void describe_train(const DescribeVerb& take);
/// `rondo schedule`: an algorithm as a table.
int schedule_command(const std::vector<std::string>& arguments);
void describe_schedule(const DescribeVerb& take);
/// `rondo explain`: reads the flight records of a run.
int explain_command(const std::vector<std::string>& arguments);
void describe_explain(const DescribeVerb& take);
/// `rondo bench`: measures collectives, alone or beside rivals.
int bench_command(const std::vector<std::string>& arguments);
void describe_bench(const DescribeVerb& take);
/// `rondo bench train`: measures training, alone or beside PyTorch.
int bench_train_command(const std::vector<std::string>& arguments);
void describe_bench_train(const DescribeVerb& take);
/// `rondo bench start`: measures how soon ranks run, alone or beside torchrun.
int bench_start_command(const std::vector<std::string>& arguments);
void describe_bench_start(const DescribeVerb& take);
/// `rondo ps`: the live runs.
int ps_command(const std::vector<std::string>& arguments);
void describe_ps(const DescribeVerb& take);
/// `rondo logs`: what the ranks of a run write.
int logs_command(const std::vector<std::string>& arguments);
void describe_logs(const DescribeVerb& take);
/// `rondo top`: what the ranks of a run do and use.
int top_command(const std::vector<std::string>& arguments);
void describe_top(const DescribeVerb& take);
/// `rondo stop`: stops a run, or sends it another signal.
int stop_command(const std::vector<std::string>& arguments);
void describe_stop(const DescribeVerb& take);
/// `rondo ckpt`: lists, shows, verifies and exports checkpoints.
int ckpt_command(const std::vector<std::string>& arguments);
void describe_ckpt(const DescribeVerb& take);
/// `rondo secret`: makes the secret of jobs over several hosts.
int secret_command(const std::vector<std::string>& arguments);
void describe_secret(const DescribeVerb& take);
/// `rondo version`.
int version_command(const std::vector<std::string>& arguments);
void describe_version(const DescribeVerb& take);

/// `rondo doctor`: what on this host is in the way of a run, and what to do.
int doctor_command(const std::vector<std::string>& arguments);
void describe_doctor(const DescribeVerb& take);
/// `rondo completion`: a script for a shell.
int completion_command(const std::vector<std::string>& arguments);
void describe_completion(const DescribeVerb& take);

/// A verb of the command line.
struct Verb {
  const char* name;
  const char* purpose;
  int (*run)(const std::vector<std::string>&);
  void (*describe)(const DescribeVerb&);
};
const std::vector<Verb>& all_verbs();

}  // namespace rondo::launcher
