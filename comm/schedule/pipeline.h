/// How far ahead the algorithms that meet all peers at once send, and why they cannot deadlock.
///
/// Note [Why pipelines cannot deadlock]
/// These algorithms work in stages: send segment g, receive it, sum it, and so on. Every rank runs through all stages
/// of all segments in one common order, which sends a segment some stages before it is received: so that segment g + 1
/// is under way while g is summed and g - 1 goes back. In each stage a rank sends at most one message to each peer (or
/// receives one from each), and the matching receive lies later in the common order. Look at the earliest stage in
/// which any rank is stuck. A receive it cannot be, for its message was sent in an earlier stage. A send it cannot be
/// as long as, for every pair, at most `slots` messages sent up to this stage are received after it. This is what each
/// algorithm must see to; with kSegmentsAhead = 2 it comes to 3, and there are 4 slots.
#pragma once

namespace rondo::comm {

/// Segments that a rank sends before it takes the first.
inline constexpr int kSegmentsAhead = 2;

}  // namespace rondo::comm
