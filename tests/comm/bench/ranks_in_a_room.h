/// Threads as ranks of a benchmark, with a room each over one mapping.
#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <functional>
#include <future>
#include <thread>
#include <vector>

#include "comm/bench/room.h"

namespace rondo::bench {

/// Carries rank 0's ticket to the others.
class TicketBoard {
 public:
  TicketBoard() : ticket_(promise_.get_future().share()) {}
  void put(const Ticket& ticket) { promise_.set_value(ticket); }
  Ticket get() const { return ticket_.get(); }

 private:
  std::promise<Ticket> promise_;
  std::shared_future<Ticket> ticket_;  // shared by the ranks' threads
};

/// Runs `body` on `n` threads and waits for all.
inline void on_threads(int n, const std::function<void(int rank)>& body) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < n; ++rank) threads.emplace_back(body, rank);
  for (std::thread& thread : threads) thread.join();
}

/// Runs `body` once a rank. `settled`: what each rank says about its cpu.
inline void in_a_room(int n, Waiting waiting, const std::function<int(int rank)>& cpu_of,
                      const std::function<void(Room& room)>& body) {
  TicketBoard board;
  on_threads(n, [&](int rank) {
    const RoomShape shape{.at = {.rank = rank, .world_size = n}, .sample_capacity = 100, .waiting = waiting};
    auto room = rank == 0 ? Room::make(shape) : Room::enter(shape, board.get());
    ASSERT_TRUE(room.ok()) << room.status().text();
    if (rank == 0) board.put(room->ticket());
    const auto cpus = room->settle(cpu_of(rank), comm::in_seconds(20));
    ASSERT_TRUE(cpus.ok()) << cpus.status().text();
    for (int other = 0; other < n; ++other) ASSERT_EQ((*cpus)[static_cast<size_t>(other)], cpu_of(other));
    body(*room);
  });
}

}  // namespace rondo::bench
