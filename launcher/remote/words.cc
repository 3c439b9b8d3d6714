#include "launcher/remote/words.h"

#include <algorithm>

namespace rondo::launcher {

control::AgentSays ended_message(int rank, const RankEvidence& evidence, comm::TimePoint now) {
  control::AgentSays says;
  control::RankEnded& ended = *says.mutable_ended();
  ended.set_rank(rank);
  if (evidence.ending) {
    ended.mutable_ending()->set_exit_code(evidence.ending->exit_code);
    ended.mutable_ending()->set_signal(evidence.ending->signal);
    ended.set_since_ns(std::chrono::nanoseconds(now - evidence.ending->at).count());
  }
  if (evidence.report) {
    ended.mutable_report()->set_culprit_rank(evidence.report->culprit);
    ended.mutable_report()->set_code(evidence.report->code);
    ended.mutable_report()->set_text(evidence.report->text);
  }
  if (evidence.told_of) ended.set_told_of(*evidence.told_of);
  ended.set_stopped_by_launcher(evidence.stopped_by_launcher);
  ended.set_told_timeout(evidence.told_timeout);
  if (evidence.silence) {
    if (evidence.silence->state != '\0') ended.set_state(std::string(1, evidence.silence->state));
    if (evidence.silence->beat_before) ended.set_beat_before_ms(evidence.silence->beat_before->count());
  }
  ended.set_out_of_memory(evidence.out_of_memory);
  for (const std::string& frame : evidence.backtrace) ended.add_backtrace(frame);
  return says;
}

RankEvidence evidence_of(const control::RankEnded& ended, comm::TimePoint now) {
  const auto since = std::clamp<int64_t>(ended.since_ns(), 0, std::chrono::nanoseconds(std::chrono::hours(1)).count());
  RankEvidence evidence;
  evidence.ending = Ending{.exit_code = ended.ending().exit_code(),
                           .signal = ended.ending().signal(),
                           .at = now - std::chrono::duration_cast<comm::Duration>(std::chrono::nanoseconds(since))};
  if (ended.has_report()) {
    evidence.report = FailureReport{
        .culprit = ended.report().culprit_rank(), .code = ended.report().code(), .text = ended.report().text()};
  }
  if (ended.has_told_of()) evidence.told_of = ended.told_of();
  evidence.stopped_by_launcher = ended.stopped_by_launcher();
  evidence.told_timeout = ended.told_timeout();
  if (!ended.state().empty() || ended.has_beat_before_ms()) {
    evidence.silence = Silence{.state = ended.state().empty() ? '\0' : ended.state()[0], .beat_before = {}};
    if (ended.has_beat_before_ms()) evidence.silence->beat_before = std::chrono::milliseconds(ended.beat_before_ms());
  }
  evidence.out_of_memory = ended.out_of_memory();
  evidence.backtrace.assign(ended.backtrace().begin(), ended.backtrace().end());
  return evidence;
}

control::CoordinatorSays verdict_message(const Verdict& verdict) {
  control::CoordinatorSays says;
  says.mutable_verdict()->set_rank(verdict.rank);
  says.mutable_verdict()->set_pid(verdict.pid);
  says.mutable_verdict()->mutable_ending()->set_exit_code(verdict.ending.exit_code);
  says.mutable_verdict()->mutable_ending()->set_signal(verdict.ending.signal);
  return says;
}

Verdict verdict_of(const control::Verdict& said) {
  return {.rank = said.rank(),
          .pid = said.pid(),
          .ending = {.exit_code = said.ending().exit_code(), .signal = said.ending().signal(), .at = {}}};
}

void say_usage(const ProcessUsage& usage, control::Usage& said) {
  if (usage.cpu_percent) said.set_cpu_percent(*usage.cpu_percent);
  said.set_resident_bytes(usage.resident_bytes);
  if (usage.state != '\0') said.set_state(std::string(1, usage.state));
}

control::AgentSays usages_message(const std::vector<AgentEvents::RankUsage>& of_ranks) {
  control::AgentSays says;
  for (const AgentEvents::RankUsage& one : of_ranks) {
    control::Usage& said = *says.mutable_usages()->add_ranks();
    said.set_rank(one.rank);
    say_usage(one.usage, said);
  }
  return says;
}

std::vector<AgentEvents::RankUsage> usages_of(const control::Usages& said) {
  std::vector<AgentEvents::RankUsage> all;
  for (const control::Usage& one : said.ranks()) {
    AgentEvents::RankUsage usage{.rank = one.rank(), .usage = {}};
    if (one.has_cpu_percent()) usage.usage.cpu_percent = one.cpu_percent();
    usage.usage.resident_bytes = one.resident_bytes();
    usage.usage.state = one.state().empty() ? '\0' : one.state()[0];
    all.push_back(usage);
  }
  return all;
}

namespace {

/// Not within a letter: Protobuf takes no text that is no UTF-8.
void cut_text(size_t bytes, std::string& text) {
  size_t kept = text.size() - std::min(text.size(), bytes);
  while (kept > 0 && (static_cast<unsigned char>(text[kept]) & 0xC0) == 0x80) --kept;
  text.resize(kept);
}

/// Takes lines away at the end: at least so many bytes of them.
void cut_lines(size_t bytes, google::protobuf::RepeatedPtrField<std::string>& lines) {
  for (size_t gone = 0; gone < bytes && !lines.empty(); lines.RemoveLast()) gone += lines.rbegin()->size();
}

bool cut_worker_message(size_t bytes, std::string& serialized) {
  proto::WorkerMessage message;
  if (!message.ParseFromString(serialized)) return false;
  if (message.has_say()) {
    cut_text(bytes, *message.mutable_say()->mutable_line());
  } else if (message.has_failure()) {
    cut_text(bytes, *message.mutable_failure()->mutable_text());
  } else {
    return false;
  }
  return message.SerializeToString(&serialized);
}

}  // namespace

bool cut_to(size_t bytes, control::AgentSays& says) {
  constexpr size_t kForLengths = 64;  // a shorter text may leave its own length as long as before
  const size_t now = says.ByteSizeLong();
  if (now <= bytes) return true;
  const size_t surplus = now - bytes + kForLengths;
  switch (says.content_case()) {
    case control::AgentSays::kMessage:
      if (!cut_worker_message(surplus, *says.mutable_message()->mutable_message())) return false;
      break;
    case control::AgentSays::kStacks:
      cut_lines(surplus, *says.mutable_stacks()->mutable_lines());
      break;
    case control::AgentSays::kEnded: {
      control::RankEnded& ended = *says.mutable_ended();
      cut_lines(surplus, *ended.mutable_backtrace());
      if (says.ByteSizeLong() > bytes && ended.has_report())
        cut_text(says.ByteSizeLong() - bytes + kForLengths, *ended.mutable_report()->mutable_text());
      break;
    }
    default:
      return false;
  }
  return says.ByteSizeLong() <= bytes;
}

control::OutputStream stream_of(Channel channel) {
  return channel == Channel::kOutput ? control::OUTPUT_STREAM_OUT : control::OUTPUT_STREAM_ERR;
}

Channel channel_of(control::OutputStream stream) {
  return stream == control::OUTPUT_STREAM_ERR ? Channel::kErrors : Channel::kOutput;
}

}  // namespace rondo::launcher
