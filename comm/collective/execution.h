/// Carries out one Schedule over a Transport: the executor of real ranks and of fake ranks alike.
///
/// Never blocks; advance() does at most one segment's work. Threading: under the group's lock.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "comm/collective/descriptor.h"
#include "comm/collective/place_weights.h"
#include "comm/group/operation.h"
#include "comm/transport/transport.h"
#include "rondo/comm/buffer.h"
#include "rondo/comm/schedule.h"

namespace rondo::comm {

/// What the schedule's places mean here.
struct Binding {
  BufferView data;
  BufferView result;             // kResult
  DType wire = DType::kFloat32;  // of kWire; a 16-bit type, or that of `data`
  ReduceOp op = ReduceOp::kSum;
  double weight = 1.0;
  std::vector<int> job_ranks;  // group rank -> rank in the job, for errors
  uint64_t region = 0;         // registered memory of `data`; 0 = none
  size_t offset = 0;
};

class Execution {
 public:
  Execution(std::shared_ptr<const Schedule> schedule, Binding binding, Descriptor descriptor);

  Progress advance(const Turn& turn);
  const Status& status() const { return status_; }
  const Descriptor& descriptor() const { return descriptor_; }
  Descriptor& descriptor() { return descriptor_; }
  /// Group rank that the next action waits for; -1 for none.
  int waits_for() const { return waits_for_; }
  /// "hop 2 of 6".
  std::string phase() const;
  /// The same in numbers; hop_count() of hop_count() at the end.
  uint16_t hop() const;
  uint16_t hop_count() const { return static_cast<uint16_t>(std::min(schedule_->hop_count, UINT16_MAX)); }
  std::string_view algorithm() const { return schedule_->algorithm; }

 private:
  struct Peer {
    SendTicket descriptor_ticket = 0;
    SendTicket last_ticket = 0;
    bool descriptor_seen = false;
    double weight = 0;  // from its signal
  };
  Progress fail(Status status);
  Progress blocked_on(int peer);
  bool start(const Turn& turn);
  /// Where there is a board: goes on when all ranks have posted the same.
  Progress enter(const Board& board);
  /// Takes the peer's descriptor; kDone when it is there and fits.
  Progress see_descriptor(const Turn& turn, int peer);
  Progress run(const Turn& turn, const Action& action);
  Progress run_send(const Turn& turn, const Action& action);
  Progress run_receive(const Turn& turn, const Action& action);
  Progress run_reduce(const Turn& turn, const Action& action);
  Progress run_copy(const Turn& turn, const Action& action);
  Progress finish(const Turn& turn);
  Result<std::span<std::byte>> resolve(const Turn& turn, const Place& place);
  size_t scratch_bytes() const;
  double weight_of(const Place& place) const;
  void set_weight(const Place& place, double weight);
  uint64_t signal_base() const { return descriptor_.sequence << 20; }

  const std::shared_ptr<const Schedule> schedule_;  // shared with the group's cache
  const Binding binding_;
  Descriptor descriptor_;
  std::array<std::byte, kDescriptorBytes> mine_{};
  std::array<std::byte, kDescriptorBytes> theirs_{};
  std::vector<Peer> peers_;
  PlaceWeights weights_;                    // of the operands in a place of this rank; absent: this rank's own
  std::vector<const std::byte*> operands_;  // of the reduction under way
  std::vector<std::byte*> targets_;
  bool started_ = false;
  int entered_ = 0;  // ranks below have posted; only where there is a board
  size_t next_ = 0;
  int waits_for_ = -1;
  Status status_;
};

}  // namespace rondo::comm
