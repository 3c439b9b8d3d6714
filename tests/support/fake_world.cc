#include "tests/support/fake_world.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "comm/group/endpoint_state.h"
#include "comm/group/formation.h"
#include "comm/group/group_state.h"
#include "comm/sim/faulty_transport.h"

namespace rondo::test {

FakeWorld::FakeWorld(int rank_count, FakeWorldOptions options)
    : options_(std::move(options)),
      trace_(std::make_shared<comm::Trace>()),
      injector_(options_.faults ? std::make_shared<comm::Injector>(*options_.faults, trace_) : nullptr),
      dead_(static_cast<size_t>(rank_count)) {
  comm::SimOptions sim = options_.sim;
  sim.trace = trace_;
  sim.injector = injector_;
  sim_ = comm::SimWorld::make(std::move(sim));
  if (injector_) injector_->on_kill([this](int rank) { vanish(rank); });
  const auto control = sim_->env("control");
  const auto store = options_.store ? options_.store : comm::in_process_store();
  const comm::JobId job = comm::JobId::draw(*control);
  const comm::Secret secret = comm::Secret::draw(*control);
  std::shared_ptr<comm::InprocFabric> fabric;
  if (options_.transport != comm::TransportKind::kTcp) {
    fabric = *comm::make_inproc_fabric(rank_count);
    page_ = fabric->page();
  } else {
    auto memory = comm::Region::allocate(comm::JobPage::byte_count(rank_count), "page of fake ranks");
    page_ = *comm::JobPage::format(*std::move(memory), rank_count);
  }
  for (int rank = 0; rank < rank_count; ++rank) {
    const std::string name = "rank-" + std::to_string(rank);
    auto endpoint = comm::Endpoint::create({.at = {.rank = rank, .world_size = rank_count},
                                            .local_rank = rank,
                                            .job = job,
                                            .secret = secret,
                                            .env = sim_->env(name, rank),
                                            .store = store,
                                            .transport = options_.transport,
                                            .fabric = fabric,
                                            .listen = {{"sim:" + name}},
                                            .keeper = comm::EndpointOptions::Keeper::kOff});
    EXPECT_TRUE(endpoint.ok()) << endpoint.status().text();
    EXPECT_TRUE(endpoint->state()->install_page(page_).ok());
    if (injector_) {
      endpoint->state()->wrap_transports(
          [this](std::unique_ptr<comm::Transport> below, const comm::GroupIdentity& group) {
            return comm::make_faulty_transport(std::move(below), {.injector = injector_,
                                                                  .trace = trace_,
                                                                  .group = group.id,
                                                                  .job_ranks = group.job_ranks,
                                                                  .rank = group.at.rank});
          });
    }
    endpoints_.push_back(*endpoint);
  }
}

FakeWorld::~FakeWorld() = default;

bool FakeWorld::run(const Program& program, comm::Duration limit) {
  comm::SchedulerOptions how = options_.schedule;
  how.seed += ++runs_;
  comm::Scheduler scheduler(sim_, how, trace_);
  scheduler_ = &scheduler;
  for (size_t rank = 0; rank < endpoints_.size(); ++rank) {
    scheduler.add([this, rank, &program, done = false](comm::TimePoint) mutable {
      if (done) {
        endpoints_[rank].state()->progress();
        return comm::Progress::kDone;
      }
      const comm::Progress progress = program(rank);
      done = progress == comm::Progress::kDone || progress == comm::Progress::kFailed;
      return progress;
    });
    if (dead_[rank]) {
      scheduler.remove(static_cast<int>(rank));
      tell_of_death(static_cast<int>(rank));
    }
  }
  const auto outcome = scheduler.run(limit);
  unfinished_ = scheduler.unfinished();
  scheduler_ = nullptr;
  return outcome == comm::Scheduler::Outcome::kAllDone;
}

comm::Progress FakeWorld::go_on(size_t rank, const comm::Work& work) {
  if (work.done()) return comm::Progress::kDone;
  const bool moved = endpoints_[rank].state()->progress();
  if (work.done()) return comm::Progress::kDone;
  return moved ? comm::Progress::kProgressed : comm::Progress::kBlocked;
}

std::vector<comm::Group> FakeWorld::form(const comm::GroupOptions& options) {
  std::vector<comm::GroupFormation> formations;
  formations.reserve(endpoints_.size());
  for (const auto& endpoint : endpoints_) formations.emplace_back(endpoint.state(), options);
  EXPECT_TRUE(run([&](size_t rank) {
    const comm::Progress progress = formations[rank].advance(now());
    EXPECT_NE(progress, comm::Progress::kFailed) << formations[rank].status().text();
    return progress;
  }));
  std::vector<comm::Group> groups;
  groups.reserve(formations.size());
  for (auto& formation : formations) groups.push_back(formation.take());
  return groups;
}

void FakeWorld::kill(int rank) {
  if (injector_) {
    injector_->kill(rank);
  } else {
    vanish(rank);
  }
}

void FakeWorld::freeze(int rank) {
  if (scheduler_ != nullptr) scheduler_->remove(rank);
}

void FakeWorld::vanish(int rank) {
  if (dead(rank)) return;
  dead_[static_cast<size_t>(rank)] = true;
  sim_->kill("rank-" + std::to_string(rank));
  if (scheduler_ == nullptr) return;  // the next run() tells of it
  scheduler_->remove(rank);
  scheduler_->at(now() + options_.death_known_after, [this, rank] { tell_of_death(rank); });
}

// In the words of the keeper of the nearest living rank before it.
void FakeWorld::tell_of_death(int rank) {
  int reporter = -1;
  for (int step = 1; step < rank_count() && reporter < 0; ++step) {
    const int before = (rank + rank_count() - step) % rank_count();
    if (!dead(before)) reporter = before;
  }
  page_->post_abort({.group = comm::kWholeJob,
                     .code = comm::Code::kPeerLost,
                     .culprit = rank,
                     .reporter = reporter,
                     .text = "rank " + std::to_string(rank) + " died"});
}

}  // namespace rondo::test
