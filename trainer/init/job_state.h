/// What all copies of a Job share: the endpoint, the groups, and how it ends.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rondo/comm/bootstrap.h"
#include "rondo/comm/endpoint.h"
#include "rondo/comm/group.h"
#include "rondo/comm/work.h"
#include "rondo/job.h"
#include "trainer/init/last_words.h"

namespace rondo::trainer {

class BatchNormExchange;
class ProgramCheck;

class JobState {
 public:
  /// Collective. Takes the endpoint over; `bootstrap` says where this rank stands.
  static std::shared_ptr<JobState> create(comm::Joined joined, comm::Bootstrap bootstrap, const InitOptions& options,
                                          comm::LogSink log);
  /// Leaves in order; while an exception ends this rank, aborts the job instead, so that no peer waits for it.
  ~JobState();
  /// What the destructor does in the first case.
  void leave();
  JobState(const JobState&) = delete;
  JobState& operator=(const JobState&) = delete;

  const comm::Bootstrap& bootstrap() const { return bootstrap_; }
  /// Of the user's collectives; of wrapped models (buffers).
  comm::Group& user_group() { return user_; }
  comm::Group& model_group() { return model_; }
  /// Of the synchronised BatchNorms of all wrappers; null before the first of them. Shared with graphs in flight.
  std::shared_ptr<BatchNormExchange>& batch_norms() { return batch_norms_; }
  /// Collective: a group for one wrapper's gradients.
  comm::Group make_gradient_group();
  /// Whose gradients alone are averaged now; null: all wrappers'.
  const void* exclusive() const { return exclusive_.load(); }
  /// False while another replica's claim lives. Claims of one replica nest.
  bool claim_exclusive(const void* replica);
  void leave_exclusive();

  /// Where ranks wait for one that has long to do: no operation timeout, so who waits brings the deadline.
  comm::Group& patient_group() { return patient_; }
  /// Kept until it is done, with the byte that it carries.
  struct Told {
    std::unique_ptr<uint8_t> byte;
    comm::Work work;
  };
  void keep(Told told) { told_.push_back(std::move(told)); }

  /// In job.lockstep(), when this rank has run out: its gradients count nothing.
  bool out_of_data() const { return out_of_data_.load(); }
  void set_out_of_data(bool out) { out_of_data_.store(out); }

  /// Ends the job for all ranks; see Job::abort().
  void abort(const std::string& reason);
  /// From now on an uncaught exception is told to all ranks and the agent, and written into torchrun's `error_file`
  /// (may be empty).
  void install_last_words(const std::string& error_file);
  /// `rondo doctor --program` looks at this program; it writes into `folder`.
  void look_at_program(const std::string& folder);
  /// Null unless that was called.
  ProgramCheck* program_check() { return program_check_.get(); }
  void log(LogLevel level, const std::string& line) const;
  /// Whether debug lines are shown: some cost time to write.
  bool shows_debug() const { return shows_debug_; }
  void set_shows_debug(bool shows) { shows_debug_ = shows; }
  void say(const std::string& line) const { log(LogLevel::kWarning, line); }
  /// The step under way, from 1.
  int64_t current_step() const { return steps_done() + 1; }
  /// Steps applied in this job, those before a load() included: they number checkpoints.
  int64_t steps_done() const { return steps_done_.load(); }
  void set_steps_done(int64_t steps) { steps_done_.store(steps); }
  void count_step() { ++steps_done_; }

 private:
  JobState(comm::Joined joined, comm::Bootstrap bootstrap, const InitOptions& options, comm::LogSink log);
  comm::GroupOptions group_options(const std::string& name) const;
  comm::Group split(const std::string& name, std::optional<std::chrono::milliseconds> operation_timeout = {});

  comm::Joined joined_;
  comm::Bootstrap bootstrap_;
  InitOptions options_;
  comm::LogSink log_;
  bool shows_debug_ = false;
  comm::Group world_, user_, model_, patient_;
  std::vector<Told> told_;
  std::unique_ptr<LastWords> last_words_;
  std::atomic<bool> out_of_data_{false};
  std::atomic<const void*> exclusive_{nullptr};
  int exclusive_depth_ = 0;  // of the thread that trains
  std::atomic<int> wrappers_{0};
  std::atomic<int64_t> steps_done_{0};
  std::shared_ptr<BatchNormExchange> batch_norms_;
  std::unique_ptr<ProgramCheck> program_check_;
};

/// A job from an endpoint that exists: for ranks that are threads of one process.
Job make_job(comm::Endpoint endpoint, const InitOptions& options = {});

/// A job of this rank alone, beside those that it is a member of. Shows warnings only.
Job make_job_of_one();

}  // namespace rondo::trainer
