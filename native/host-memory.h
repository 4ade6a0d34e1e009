// Owns where tensors on the CPU lie.
#pragma once

namespace reckon {

/// Makes libtorch take the memory of tensors on the CPU as host-memory.cpp says. Once, before any tensor.
void useHostMemory();

}  // namespace reckon
