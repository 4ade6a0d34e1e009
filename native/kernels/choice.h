// Owns the choice between the tables of kernels that this processor runs.
#pragma once
#include <string>
#include <vector>

#include "table.h"

namespace reckon {

/// The tables that this processor runs, the best one last.
const std::vector<const KernelTable*>& runnableKernels();

/// The table in use: the best one until another is chosen.
const KernelTable& kernels();

/// Puts the table of that name in use; false where this processor runs none of that name.
bool useKernels(const std::string& name);

}  // namespace reckon
