// Owns the list of what one instruction set has for training. Included after the other files of its kernels.

constexpr TrainingTable trainingTable{
    swigluBack, normaliseBack, rotateHeads, fold, foldBack, contract, contractMany, spread, factorSlopes, causal, causalBack,
                                      terms, termSlopes};
