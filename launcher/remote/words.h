/// What agents and the coordinator say to each other, as messages of control.proto and back.
#pragma once

#include "launcher/agent/agent_link.h"
#include "proto/control.pb.h"

namespace rondo::launcher {

control::AgentSays ended_message(int rank, const RankEvidence& evidence, comm::TimePoint now);
/// The end's time is on this host's clock: what passed since, before `now`.
RankEvidence evidence_of(const control::RankEnded& ended, comm::TimePoint now);

control::CoordinatorSays verdict_message(const Verdict& verdict);
Verdict verdict_of(const control::Verdict& said);

/// Cuts texts and lines at the end of `says` until it has at most `bytes`. False: it holds nothing that may be cut.
bool cut_to(size_t bytes, control::AgentSays& says);
control::AgentSays usages_message(const std::vector<AgentEvents::RankUsage>& of_ranks);
std::vector<AgentEvents::RankUsage> usages_of(const control::Usages& said);
void say_usage(const ProcessUsage& usage, control::Usage& said);

control::OutputStream stream_of(Channel channel);
Channel channel_of(control::OutputStream stream);

}  // namespace rondo::launcher
