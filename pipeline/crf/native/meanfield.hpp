// Mean field on the lattices of one image.
#pragma once
#include "lattice.hpp"
#include <cstdint>

namespace crf {

struct Term {
    double sxy, srgb;    // srgb 0: position only
    int compat_kind;     // 0: Potts weight, 1: energy per label, 2: energy per pair of labels
    const float *compat; // 1, labels or labels * labels numbers
};

// probabilities[k][y][x] of energies[k][y][x] for each of `count` unaries over one image.
// Throws Error, among others where more than `limit` bytes would be needed.
void infer(const uint8_t *image, int64_t height, int64_t width, const Term *terms, int term_count, int labels,
           int iterations, const float *const *energies, float *const *probabilities, int count, int64_t limit);

} // namespace crf
