/// Several addresses of one peer, of which some may be wrong: which one a dial ends at.
///
/// A dial starts at all of them at once; the first that answers is taken, the others are let go. An address that
/// answers and turns out to be someone else's is left out from then on; one that answers and then says nothing stands
/// back once, so that another gets its turn. With one address all this is an ordinary dial. Threading: one thread at a
/// time; a stream may outlive its route.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rondo/comm/env.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

class Route {
 public:
  explicit Route(std::vector<Address> addresses) : left_(std::move(addresses)) {}

  /// Starts to connect. Fails when no address can even be dialed.
  Result<std::unique_ptr<Stream>> dial(Env& env);
  /// How long the peer may take to answer once connected: for ever when there is no other address to try.
  Duration patience() const;
  /// The last dial ended like this. True: it led to the wrong place, which is left out; another address is left.
  bool turned_back(const Status& why);
  /// For messages: "tcp:10.0.0.1:4711 or tcp:[fd00::1]:4711".
  std::string text() const;

 private:
  std::vector<Address> candidates() const;

  std::vector<Address> left_;                        // not known to be wrong
  std::optional<Address> resting_;                   // stands back in the next dial
  std::shared_ptr<std::optional<Address>> reached_;  // by the last dial; shared with its stream
  int silences_ = 0;
};

/// "tcp:10.0.0.1:4711 or tcp:[fd00::1]:4711".
std::string text_of(const std::vector<Address>& addresses);

}  // namespace rondo::comm
