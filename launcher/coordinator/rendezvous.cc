#include "launcher/coordinator/rendezvous.h"

#include <algorithm>

namespace rondo::launcher {
namespace {

std::string list(const std::vector<std::string>& items) {
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) text += (i == 0 ? "" : i + 1 == items.size() ? " and " : ", ") + items[i];
  return text;
}

}  // namespace

comm::Status Rendezvous::admit(const Attendee& attendee) {
  if (attendee.node_rank) {
    const int node_rank = *attendee.node_rank;
    if (node_rank >= wanted_.most) {
      return {comm::Code::kInvalidArgument, "--node-rank " + std::to_string(node_rank) + " of host " + attendee.host +
                                                ": with --nnodes " + std::to_string(wanted_.most) +
                                                " node ranks go from 0 to " + std::to_string(wanted_.most - 1)};
    }
    const auto other =
        std::ranges::find_if(attendees_, [&](const Attendee& at) { return at.node_rank == attendee.node_rank; });
    if (other != attendees_.end()) {
      return {comm::Code::kInvalidArgument, "--node-rank " + std::to_string(node_rank) + " of host " + attendee.host +
                                                " belongs to host " + other->host +
                                                " already; give every host its own, or none"};
    }
  }
  if (count() >= wanted_.most) {
    return {comm::Code::kResource,
            "host " + attendee.host + " comes too late: all " + std::to_string(wanted_.most) + " hosts are there"};
  }
  attendees_.push_back(attendee);
  return {};
}

void Rendezvous::withdraw(int id) {
  std::erase_if(attendees_, [id](const Attendee& attendee) { return attendee.id == id; });
}

bool Rendezvous::complete(comm::TimePoint now) const {
  return count() == wanted_.most || (count() >= wanted_.least && now >= std::min(wanted_.last_call, wanted_.join_by));
}

comm::TimePoint Rendezvous::next_moment(comm::TimePoint now) const {
  return count() >= wanted_.least && now < wanted_.last_call ? std::min(wanted_.last_call, wanted_.join_by)
                                                             : wanted_.join_by;
}

std::vector<std::optional<Rendezvous::Attendee>> Rendezvous::seats() const {
  std::vector<std::optional<Attendee>> seats(static_cast<size_t>(wanted_.most));
  for (const Attendee& attendee : attendees_)
    if (attendee.node_rank) seats[static_cast<size_t>(*attendee.node_rank)] = attendee;
  for (const Attendee& attendee : attendees_)
    if (!attendee.node_rank) *std::ranges::find_if(seats, [](const auto& seat) { return !seat; }) = attendee;
  return seats;
}

std::vector<std::string> Rendezvous::absent() const {
  const int missing = wanted_.least - count();
  if (missing <= 0) return {};
  const bool by_rank = wanted_.least == wanted_.most && std::ranges::all_of(attendees_, [](const Attendee& attendee) {
                         return attendee.node_rank.has_value();
                       });
  if (!by_rank || attendees_.empty())
    return {std::to_string(missing) + (attendees_.empty() ? "" : " more") + (missing == 1 ? " host" : " hosts")};
  std::vector<std::string> absent;
  const auto all = seats();
  for (size_t i = 0; i < all.size(); ++i)
    if (!all[i]) absent.push_back("node rank " + std::to_string(i));
  return absent;
}

std::string Rendezvous::describe() const {
  std::vector<std::string> here;
  for (const Attendee& attendee : attendees_)
    here.push_back(attendee.host +
                   (attendee.node_rank ? " (node rank " + std::to_string(*attendee.node_rank) + ")" : ""));
  const std::string wanted = std::to_string(wanted_.least) +
                             (wanted_.most == wanted_.least ? "" : " to " + std::to_string(wanted_.most)) + " hosts";
  return "of " + wanted + (here.empty() ? " none is here" : " here: " + list(here)) + "; absent: " + list(absent());
}

std::vector<Rendezvous::Member> Rendezvous::members() const {
  std::vector<Member> members;
  int world_size = 0;
  for (const auto& seat : seats()) {
    if (!seat) continue;
    members.push_back({.attendee = *seat,
                       .place = {.node_rank = static_cast<int>(members.size()),
                                 .nodes = count(),
                                 .first_rank = world_size,
                                 .world_size = 0}});
    world_size += seat->ranks;
  }
  for (Member& member : members) member.place.world_size = world_size;
  return members;
}

}  // namespace rondo::launcher
