/// The agent of a host: starts the job's ranks on this machine, passes on what they write and say, and carries out what
/// the coordinator decides. It decides nothing itself.
///
/// Threading: everything on the calling thread, which must be the process's main thread (see spawn.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/agent/agent_link.h"
#include "launcher/agent/event_loop.h"
#include "launcher/agent/job_plan.h"
#include "launcher/agent/memory_events.h"
#include "launcher/agent/run_folder.h"
#include "launcher/agent/worker.h"

namespace rondo::launcher {

class HostAgent final : public AgentOrders {
 public:
  /// What its ranks start with, in every generation.
  struct Setting {
    std::vector<RankPlan> plan;
    JobFacts facts;  // the generation is filled in
    std::string secret_bytes;
    sigset_t signal_mask{};  // the ranks'
  };
  /// All but `setting` must outlive it.
  HostAgent(const JobRequest& request, EventLoop& loop, RunFolder& folder, AgentEvents& events, Setting setting);

  void start(int generation) override;
  void tell(const Verdict& verdict) override;
  void stop(int signal) override;
  void ask(int signal) override;
  void suspend() override;
  void resume() override;
  void write_flights(uint64_t number) override;
  void report_usage() override;
  void look() override;
  void end_output() override;

  /// What only time brings: lines that stay unfinished, output that nobody reads. After every turn of the loop.
  void on_time(comm::TimePoint now);
  bool any_alive() const;
  /// When on_time() has something to do again.
  std::optional<comm::TimePoint> next_moment() const;

 private:
  comm::Status start_ranks(int generation);
  comm::Status watch(Worker& worker);
  comm::Status watch_output(Worker& worker);
  void forget_ranks();
  void tell_stacks(comm::TimePoint now);
  void tell_usage(comm::TimePoint now);

  void on_output(Worker& worker, OutputStream& stream);
  void on_messages(Worker& worker);
  void on_control(Worker& worker);
  void on_process(Worker& worker);
  void heard(Worker& worker);
  void finish(OutputStream& stream);
  void output_may_have_ended(Worker& worker);
  void hold_output_while_congested();

  const JobRequest& request_;
  EventLoop& loop_;
  RunFolder& folder_;
  AgentEvents& events_;
  const Setting setting_;
  MemoryEvents memory_;
  bool output_held_ = false;  // nobody takes our output: the ranks' pipes are not read

  // Of this generation.
  int generation_ = 0;
  std::vector<Worker> workers_;              // by local rank; not resized once watched
  std::optional<comm::TimePoint> last_end_;  // when the last living rank ended
  // Ranks that were asked for their stacks, and how many of their threads have answered.
  struct Question {
    Worker* worker;
    uint64_t before, seen;
  };
  std::vector<Question> questions_;
  std::optional<comm::TimePoint> answers_at_;  // looked at again then
  comm::TimePoint give_answers_up_at_;
  // While somebody wants to know what the ranks use.
  std::optional<comm::TimePoint> usage_at_;  // told then
  comm::TimePoint usage_until_{}, sampled_at_{};
};

}  // namespace rondo::launcher
