// Hierarchical: all-reduce over several hosts. Reduce-scatter inside each host, all-reduce of the slices across hosts,
// all-gather inside.
//
// Worked example: hosts {0, 1} and {2, 3}, slices A B; the owner of A is the first rank of each host, of B the second.
// Across hosts a slice has two parts, A' and A", one for each host.
//
//           rank 0                  rank 1                  rank 2                  rank 3
//   hop 0   B0 -> 1, A01 = A0+A1    A1 -> 0, B01 = B0+B1    B2 -> 3, A23 = A2+A3    A3 -> 2, B23 = B2+B3
//   hop 1   A"01 -> 2               B"01 -> 3               A'23 -> 0               B'23 -> 1
//           A' = A'01 + A'23        B' = B'01 + B'23        A" = A"01 + A"23        B" = ...         <- divided
//   hop 2   A' -> 2                 B' -> 3                 A" -> 0                 B" -> 1
//   hop 3   A -> 1                  B -> 0                  A -> 3                  B -> 2
//
// Any layout works. There are as many slices as the largest host has ranks; in a smaller host ranks own several. Then a
// pair exchanges several messages in a stage, and there are slots for them. Segments go through the four hops side by
// side, see Note [Why pipelines cannot deadlock].
//
// Order: a tree over hosts of trees over their ranks; canonical where that is the same, as when every host holds one
// aligned block of the same 2^k ranks (the last may hold fewer).
//
// Cost: 4 hops; of m ranks on each of N hosts each sends 2(m-1)/m of the bytes inside its host and 2(N-1)/N of a slice
// (1/m of the bytes) across: 2(N-1)/N of the bytes leave a host, however many ranks it has.
#include <algorithm>

#include "comm/schedule/makers.h"
#include "comm/schedule/orders.h"
#include "comm/schedule/pipeline.h"
#include "comm/schedule/split.h"
#include "comm/schedule/writer.h"

namespace rondo::comm {
namespace {

constexpr int kIntoHost = 0;
constexpr int kAcross = 1;
constexpr int kBackAcross = 2;
constexpr int kOutInHost = 3;

/// Who owns what, the same on every rank.
class Layout {
 public:
  Layout(Hosts hosts, int rank) : hosts_(std::move(hosts)) {
    for (size_t host = 0; host < hosts_.size(); ++host) {
      slices_ = std::max(slices_, static_cast<int>(hosts_[host].size()));
      if (std::ranges::find(hosts_[host], rank) != hosts_[host].end()) own_host_ = static_cast<int>(host);
    }
  }

  int host_count() const { return static_cast<int>(hosts_.size()); }
  int own_host() const { return own_host_; }
  int slices() const { return slices_; }
  const std::vector<int>& neighbours() const { return hosts_[static_cast<size_t>(own_host_)]; }
  int owner(int host, int slice) const {
    const auto& ranks = hosts_[static_cast<size_t>(host)];
    return ranks[static_cast<size_t>(slice) % ranks.size()];
  }

  /// The most messages that a pair exchanges in one stage.
  int messages_in_a_stage() const {
    std::vector<int> sizes;
    for (const auto& ranks : hosts_) sizes.push_back(static_cast<int>(ranks.size()));
    std::ranges::sort(sizes);
    const auto owned_by_one_of = [&](int size) { return (slices_ + size - 1) / size; };
    int most = 1;
    if (sizes.size() > 1) most = std::max(most, owned_by_one_of(sizes[1]));  // both ends own all slices of the pair
    for (const int size : sizes) {
      if (size > 1) most = std::max(most, owned_by_one_of(size));
    }
    return most;
  }

 private:
  const Hosts hosts_;
  int own_host_ = 0;
  int slices_ = 1;
};

class Hierarchy {
 public:
  Hierarchy(const ScheduleRequest& request, const Writer::Title& title, const Layout& layout)
      : writer_(request, title),
        layout_(layout),
        self_(request.at.rank),
        element_count_(request.element_count),
        segments_(segment_count(request.element_count, layout.slices(), title.segment_elements)) {}

  Schedule make() {
    writer_.set_slots(std::max(writer_.schedule().slots, (kSegmentsAhead + 1) * layout_.messages_in_a_stage()));
    name_peers();
    send_into_host(0);
    // The last result of segment g is taken three ticks after its first operand.
    for (int64_t tick = 0; tick < segments_ + 3; ++tick) {
      send_into_host(tick + 1);
      sum_in_host(tick);
      send_across(tick);
      sum_across(tick - 1);
      send_back_across(tick - 1);
      take_across(tick - 2);
      send_out_in_host(tick - 2);
      take_in_host(tick - 3);
    }
    return writer_.take();
  }

 private:
  bool owns(int slice) const { return layout_.owner(layout_.own_host(), slice) == self_; }
  Range range(int slice, int64_t g) const {
    if (g < 0) return {};
    return segment_of(chunk_of(element_count_, layout_.slices(), slice), g, writer_.segment_elements());
  }
  Range part(int slice, int64_t g, int host) const { return part_of(range(slice, g), layout_.host_count(), host); }

  Place arrival(int64_t index, int64_t count) { return writer_.scratch({.index = index, .count = count}); }

  template <typename Act>
  void each_owned_slice(Act act) const {
    for (int slice = 0; slice < layout_.slices(); ++slice) {
      if (owns(slice)) act(slice);
    }
  }
  template <typename Act>
  void each_foreign_slice(Act act) const {
    for (int slice = 0; slice < layout_.slices(); ++slice) {
      if (!owns(slice)) act(slice, layout_.owner(layout_.own_host(), slice));
    }
  }
  template <typename Act>
  void each_neighbour(Act act) const {
    for (const int rank : layout_.neighbours()) {
      if (rank != self_) act(rank);
    }
  }
  template <typename Act>
  void each_other_host(Act act) const {
    for (int host = 0; host < layout_.host_count(); ++host) {
      if (host != layout_.own_host()) act(host);
    }
  }

  void name_peers() {
    each_neighbour([&](int rank) { writer_.talks_to(rank); });
    each_owned_slice(
        [&](int slice) { each_other_host([&](int host) { writer_.talks_to(layout_.owner(host, slice)); }); });
  }

  void send_into_host(int64_t g) {
    each_foreign_slice([&](int slice, int owner) {
      writer_.send({.hop = kIntoHost, .segment = g}, owner, writer_.data(range(slice, g)));
    });
  }

  void sum_in_host(int64_t g) {
    const auto& ranks = layout_.neighbours();
    if (ranks.size() == 1) return;
    const Spot spot{.hop = kIntoHost, .segment = g};
    each_owned_slice([&](int slice) {
      const Place own = writer_.data(range(slice, g));
      std::vector<Place> operands;
      int64_t arrived = 0;
      for (const int rank : ranks) {
        const bool is_own = rank == self_;
        operands.push_back(is_own ? own : arrival(arrived++, own.range.count()));
        if (!is_own) writer_.receive(spot, rank, operands.back());
      }
      writer_.reduce(spot, operands, {own}, layout_.host_count() == 1 ? Finality::kFinal : Finality::kPartial);
    });
  }

  void send_across(int64_t g) {
    each_owned_slice([&](int slice) {
      each_other_host([&](int host) {
        writer_.send({.hop = kAcross, .segment = g}, layout_.owner(host, slice), writer_.data(part(slice, g, host)));
      });
    });
  }

  void sum_across(int64_t g) {
    if (layout_.host_count() == 1) return;
    const Spot spot{.hop = kAcross, .segment = g};
    each_owned_slice([&](int slice) {
      const Place own = writer_.data(part(slice, g, layout_.own_host()));
      std::vector<Place> operands;
      int64_t arrived = 0;
      for (int host = 0; host < layout_.host_count(); ++host) {
        const bool is_own = host == layout_.own_host();
        operands.push_back(is_own ? own : arrival(arrived++, own.range.count()));
        if (!is_own) writer_.receive(spot, layout_.owner(host, slice), operands.back());
      }
      writer_.reduce(spot, operands, {own}, Finality::kFinal);
    });
  }

  void send_back_across(int64_t g) {
    each_owned_slice([&](int slice) {
      const Place result = writer_.data(part(slice, g, layout_.own_host()));
      each_other_host(
          [&](int host) { writer_.send({.hop = kBackAcross, .segment = g}, layout_.owner(host, slice), result); });
    });
  }

  void take_across(int64_t g) {
    each_owned_slice([&](int slice) {
      each_other_host([&](int host) {
        writer_.receive({.hop = kBackAcross, .segment = g}, layout_.owner(host, slice),
                        writer_.data(part(slice, g, host)));
      });
    });
  }

  void send_out_in_host(int64_t g) {
    each_owned_slice([&](int slice) {
      each_neighbour(
          [&](int rank) { writer_.send({.hop = kOutInHost, .segment = g}, rank, writer_.data(range(slice, g))); });
    });
  }

  void take_in_host(int64_t g) {
    each_foreign_slice([&](int slice, int owner) {
      writer_.receive({.hop = kOutInHost, .segment = g}, owner, writer_.data(range(slice, g)));
    });
  }

  Writer writer_;
  const Layout& layout_;
  const int self_;
  const int64_t element_count_;
  const int64_t segments_;
};

}  // namespace

Schedule hierarchical_all_reduce(const ScheduleRequest& request) {
  const int n = request.at.world_size;
  const Hosts hosts = hosts_of(request.host_of_rank, n);
  const Layout layout(hosts, request.at.rank);
  const Writer::Title title{
      .goal = Goal::kAllReduce,
      .algorithm = "hierarchical",
      .order = canonical_or(Order::kByHost, hosts, n),
      .hop_count = n == 1 ? 0 : 4,
      .segment_elements = usable_segment({.longest = chunk_of(request.element_count, layout.slices(), 0).count(),
                                          .segment_elements = request.segment_elements,
                                          .most_elements = request.most_message_elements,
                                          .actions_per_segment = int64_t{5} * n})};
  return n == 1 ? alone(request, title) : Hierarchy(request, title, layout).make();
}

}  // namespace rondo::comm
