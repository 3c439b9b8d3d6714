#include "tests/comm/sim/rank_program.h"

#include <algorithm>
#include <utility>

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

constexpr Duration kFormingLimit = 10s;
constexpr Duration kClosingLimit = 10s;

}  // namespace

RankProgram::RankProgram(const Story& story, int rank, test::FakeWorld& world)
    : story_(story),
      rank_(rank),
      world_(world),
      endpoint_(*world.endpoint(static_cast<size_t>(rank)).state()),
      formation_(world.endpoint(static_cast<size_t>(rank)).state(), {.operation_timeout = story.operation_timeout,
                                                                     .algorithm = story.algorithm,
                                                                     .segment_bytes = story.segment_bytes}),
      lines_(lines_of(story, rank)),
      members_(story.splits.size() + 1) {
  for (const Line& line : lines_) {
    if (line.split == 0) ++members_[static_cast<size_t>(line.call.group)].calls_left;
  }
}

void RankProgram::keep(size_t group, std::string what, const Status& status, TimePoint begun) {
  endings_.push_back({rank_, static_cast<int>(group), std::move(what), status, begun, world_.now()});
}

Progress RankProgram::advance() {
  if (done_) {
    endpoint_.progress();
    return Progress::kDone;
  }
  if (!formed_) return form();
  bool moved = endpoint_.progress();
  moved |= collect();
  moved |= issue_lines();
  moved |= close_groups();
  done_ = std::all_of(members_.begin(), members_.end(), [](const Member& member) { return member.closed; });
  if (done_) return Progress::kDone;
  return moved ? Progress::kProgressed : Progress::kBlocked;
}

Progress RankProgram::form() {
  const TimePoint now = world_.now();
  if (!formation_since_) formation_since_ = now;
  const Progress progress = formation_.advance(now);
  if (progress == Progress::kDone) {
    members_[0].group = formation_.take();
    formed_ = true;
    return Progress::kProgressed;
  }
  const bool late = progress != Progress::kFailed && now - *formation_since_ > kFormingLimit;
  if (progress != Progress::kFailed && !late) return progress;
  keep(0, "group creation", late ? formation_.timed_out(now - *formation_since_) : formation_.status(),
       *formation_since_);
  done_ = true;
  return Progress::kDone;
}

void RankProgram::abort() {
  if (members_[0].group.joined()) members_[0].group.abort("the story says so");
}

size_t RankProgram::in_flight() const {
  size_t count = 0;
  for (const Member& member : members_) count += member.in_flight.size();
  return count;
}

bool RankProgram::issue_lines() {
  bool moved = false;
  while (next_line_ < lines_.size() && issue_line(lines_[next_line_])) {
    ++next_line_;
    moved = true;
  }
  return moved;
}

/// False when it has to wait.
bool RankProgram::issue_line(const Line& line) {
  if (line.split > 0) {
    Member& made = members_[static_cast<size_t>(line.split)];
    const int color = story_.splits[static_cast<size_t>(line.split) - 1].colors[static_cast<size_t>(rank_)];
    made.splitting_since = world_.now();
    made.splitting = std::make_unique<GroupSplit>(
        members_[0].group, SplitOptions{.color = color,
                                        .key = -rank_,
                                        .options = {.name = "split " + std::to_string(line.split),
                                                    .operation_timeout = story_.operation_timeout,
                                                    .algorithm = story_.algorithm,
                                                    .segment_bytes = story_.segment_bytes}});
    return true;
  }
  Member& member = members_[static_cast<size_t>(line.call.group)];
  if (member.splitting) return false;
  if (story_.window > 0 && in_flight() >= static_cast<size_t>(story_.window)) return false;
  --member.calls_left;
  if (!member.group.joined()) return true;  // another rank's color, or a split that failed
  member.in_flight.push_back({issue(line.call, member.group, story_.segment_bytes), world_.now()});
  return true;
}

bool RankProgram::collect() {
  bool moved = false;
  for (size_t index = 0; index < members_.size(); ++index) {
    Member& member = members_[index];
    if (member.splitting) {
      const Progress progress = member.splitting->advance();
      moved |= progress != Progress::kBlocked;
      if (progress == Progress::kDone || progress == Progress::kFailed) {
        keep(0, "split " + std::to_string(index), member.splitting->status(), member.splitting_since);
        member.group = member.splitting->take();
        member.splitting.reset();
      }
    }
    // In any order: a rank looks at its calls as it likes.
    for (auto at = member.in_flight.begin(); at != member.in_flight.end();) {
      Called& called = *at->called;
      if (!called.work().done()) {
        ++at;
        continue;
      }
      moved = true;
      const Status status = called.work().status();
      if (status.ok()) {
        if (std::string wrong = called.wrong(); !wrong.empty()) wrong_.push_back(std::move(wrong));
      }
      keep(index, describe(called.call()), status, at->begun);
      at = member.in_flight.erase(at);
    }
  }
  return moved;
}

bool RankProgram::close_groups() {
  bool moved = false;
  for (size_t index = members_.size(); index-- > 0;) {
    Member& member = members_[index];
    if (member.closed || member.splitting || member.calls_left > 0 || !member.in_flight.empty()) continue;
    const bool early = index > 0 && story_.splits[index - 1].close == Story::Split::Close::kEarly;
    const bool at_the_end = next_line_ == lines_.size() && in_flight() == 0;
    const bool split_is_coming = std::any_of(lines_.begin() + static_cast<std::ptrdiff_t>(next_line_), lines_.end(),
                                             [&](const Line& line) { return line.split > 0; });
    if ((early && !split_is_coming) || at_the_end) moved |= close(index);
  }
  return moved;
}

/// One look: Group::close with a deadline of now does not wait.
bool RankProgram::close(size_t index) {
  Member& member = members_[index];
  const TimePoint now = world_.now();
  if (!member.closing_since) member.closing_since = now;
  if (member.group.joined()) {
    const Status status = member.group.close({now});
    const bool pending = status.code() == Code::kTimeout;
    if (pending && now - *member.closing_since < kClosingLimit) return false;
    if (!status.ok()) keep(index, "close", status, *member.closing_since);
  }
  member.closed = true;
  return true;
}

std::string RankProgram::where() const {
  if (!formed_) return "forming the group";
  std::string text = "line " + std::to_string(next_line_) + " of " + std::to_string(lines_.size());
  for (size_t index = 0; index < members_.size(); ++index) {
    const Member& member = members_[index];
    text += "; group " + std::to_string(index) + (member.closed ? " closed" : member.closing_since ? " closing" : "");
    if (member.splitting) text += " splitting";
    for (const Issued& issued : member.in_flight) text += ", " + describe(issued.called->call());
  }
  return text;
}

}  // namespace rondo::comm
