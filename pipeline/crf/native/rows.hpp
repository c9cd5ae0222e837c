// Between planes [label][y][x], as images come, and rows [pixel][width] in the order of visits.
#pragma once
#include <cstdint>

namespace crf {

constexpr float kLog2e = 1.44269504f; // logits are in units of ln 2

// Energies -> logits, the largest of a pixel at zero, padding far below. False where an energy is not finite.
bool energies_to_rows(const float *energy, int64_t height, int64_t width, int labels, int row, float *out);

// Values as they are, padding zero.
void planes_to_rows(const float *planes, int64_t height, int64_t width, int labels, int row, float *out);

void rows_to_planes(const float *rows, int64_t height, int64_t width, int labels, int row, float *out);

} // namespace crf
