// Owns bf16 as a number of its own and its conversions, the same on every processor.
#pragma once
#include <cstdint>
#include <cstring>

namespace reckon {

struct Bf16 {
  uint16_t bits;
};

static inline float widen(Bf16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float out;
  memcpy(&out, &bits, sizeof out);
  return out;
}

/// To the nearest, ties to even; every NaN becomes the quiet one.
static inline Bf16 narrow(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fc0};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

}  // namespace reckon
