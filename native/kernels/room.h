// Owns memory that a kernel's thread keeps from one call to the next. It begins with a cache line: tiles of rows that lie
// across lines are loaded half as fast.
#pragma once
#include <cstdint>
#include <vector>

namespace reckon {

constexpr int64_t kLine = 64;

/// Bytes up to the next line.
constexpr int64_t wholeLines(int64_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

class Room {
 public:
  /// At least `bytes`; what was there before is lost.
  char* of(int64_t bytes) {
    if (memory_.size() < static_cast<size_t>(bytes + kLine)) memory_.resize(static_cast<size_t>(bytes + kLine));
    return memory_.data() + (kLine - reinterpret_cast<uintptr_t>(memory_.data()) % kLine) % kLine;
  }

 private:
  std::vector<char> memory_;
};

}  // namespace reckon
