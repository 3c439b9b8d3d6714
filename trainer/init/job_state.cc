#include "trainer/init/job_state.h"

#include <exception>
#include <utility>

#include "trainer/check/program_check.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo::trainer {
namespace {

constexpr std::chrono::hours kNoOperationTimeout{24 * 365};

}  // namespace

JobState::JobState(comm::Joined joined, comm::Bootstrap bootstrap, const InitOptions& options, comm::LogSink log)
    : joined_(std::move(joined)), bootstrap_(std::move(bootstrap)), options_(options), log_(std::move(log)) {}

std::shared_ptr<JobState> JobState::create(comm::Joined joined, comm::Bootstrap bootstrap, const InitOptions& options,
                                           comm::LogSink log) {
  std::shared_ptr<JobState> job(new JobState(std::move(joined), std::move(bootstrap), options, std::move(log)));
  const comm::Deadline deadline = comm::after(options.join_timeout);
  auto world = comm::Group::create(job->joined_.endpoint, job->group_options("world"), deadline);
  throw_if_error(world.status(), ExitCode::kRendezvous);
  job->world_ = std::move(*world);
  job->user_ = job->split("user");
  job->model_ = job->split("model");
  job->patient_ = job->split("patient", kNoOperationTimeout);
  return job;
}

JobState::~JobState() {
  last_words_.reset();
  if (std::uncaught_exceptions() > 0) {
    // What it says cannot be known here: C++ shows it to catch blocks and terminate handlers only.
    joined_.endpoint.abort("an exception left the scope of its Job in step " + std::to_string(current_step()) +
                           "; that rank's own output says which");
    return;
  }
  leave();
}

void JobState::leave() {
  // MPI is finished by all ranks together, so whoever is done waits for the last.
  const comm::Deadline deadline = bootstrap_.links_by_mpi ? comm::after(std::chrono::minutes(10)) : comm::in_seconds(2);
  for (Told& told : told_) static_cast<void>(told.work.wait(deadline));
  for (comm::Group* group : {&patient_, &user_, &model_, &world_}) {
    if (group->joined()) static_cast<void>(group->close(deadline));
  }
  static_cast<void>(joined_.endpoint.close(deadline));
}

void JobState::look_at_program(const std::string& folder) {
  program_check_ = std::make_unique<ProgramCheck>(*this, folder);
}

comm::GroupOptions JobState::group_options(const std::string& name) const {
  return {.name = name, .operation_timeout = options_.operation_timeout, .algorithm = options_.algorithm};
}

comm::Group JobState::split(const std::string& name, std::optional<std::chrono::milliseconds> operation_timeout) {
  comm::GroupOptions options = group_options(name);
  options.operation_timeout = operation_timeout.value_or(options.operation_timeout);
  auto group = world_.split({.color = 0, .key = bootstrap_.at.rank, .options = std::move(options)},
                            comm::after(options_.join_timeout));
  throw_if_error(group.status(), ExitCode::kRendezvous);
  return std::move(*group);
}

comm::Group JobState::make_gradient_group() { return split("gradient/" + std::to_string(wrappers_++)); }

bool JobState::claim_exclusive(const void* replica) {
  if (exclusive_depth_ > 0 && exclusive_.load() != replica) return false;
  exclusive_.store(replica);
  ++exclusive_depth_;
  return true;
}

void JobState::leave_exclusive() {
  if (--exclusive_depth_ == 0) exclusive_.store(nullptr);
}

void JobState::abort(const std::string& reason) {
  joined_.endpoint.abort(reason);
  // On another host it is this rank's keeper that says so, and the process may end before it does.
  if (!bootstrap_.on_one_host()) static_cast<void>(joined_.endpoint.close(comm::in_seconds(0.2)));
}

void JobState::install_last_words(const std::string& error_file) {
  last_words_ = std::make_unique<LastWords>(*this, bootstrap_.messages_descriptor, error_file);
}

void JobState::log(LogLevel level, const std::string& line) const {
  if (log_) log_(level, line);
}

Job make_job(comm::Endpoint endpoint, const InitOptions& options) {
  comm::Bootstrap bootstrap;
  bootstrap.at = endpoint.at();
  bootstrap.local_rank = endpoint.at().rank;
  bootstrap.local_world_size = endpoint.at().world_size;
  comm::Joined joined{.server = nullptr, .endpoint = std::move(endpoint)};
  return Job(JobState::create(std::move(joined), std::move(bootstrap), options, {}));
}

Job make_job_of_one() {
  comm::Bootstrap bootstrap =
      value_or_throw(comm::read_bootstrap({}, [](const std::string&) { return std::optional<std::string>(); }));
  const InitOptions options;
  const comm::LogSink log = log_to_stderr(0, LogLevel::kWarning);
  comm::Joined joined = value_or_throw(comm::join(bootstrap, log, comm::after(options.join_timeout)));
  return Job(JobState::create(std::move(joined), std::move(bootstrap), options, log));
}

}  // namespace rondo::trainer
