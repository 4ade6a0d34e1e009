// Owns the table of random generators that operators can be given.
#pragma once
#include <ATen/core/Generator.h>

#include <cstdint>

namespace reckon {

/// The generator behind an id made by makeGenerator; throws Failure for an unknown id.
at::Generator generatorOf(int64_t id);

}  // namespace reckon
