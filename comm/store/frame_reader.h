/// Takes whole frames out of a FramedStream, whatever their length. Threading: as its stream.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "comm/transport/framed_stream.h"

namespace rondo::comm {

class FrameReader {
 public:
  struct Frame {
    FrameHeader header;
    std::vector<std::byte> payload;
  };
  /// The next frame, or empty when it is not all there. The stream's limit bounds what is allocated.
  std::optional<Frame> next(FramedStream& stream) {
    const auto header = stream.peek();
    if (!header) return std::nullopt;
    buffer_.resize(header->length);
    const auto whole = stream.receive(buffer_);
    if (!whole.ok() || !whole->has_value()) return std::nullopt;  // an error shows in the stream's status
    return Frame{**whole, std::move(buffer_)};
  }

 private:
  std::vector<std::byte> buffer_;  // belongs to the stream while a frame is half there
};

}  // namespace rondo::comm
