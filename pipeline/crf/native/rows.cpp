#include "rows.hpp"
#include "lattice.hpp"
#include <algorithm>

namespace crf {
namespace {

typedef float f4 __attribute__((vector_size(16), aligned(4), may_alias));

// Four pixels of four labels, the long side of either layout.
inline void transpose(f4 *v) {
    const f4 ab = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5), AB = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    const f4 cd = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5), CD = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    v[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    v[1] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    v[2] = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
    v[3] = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
}

// One run of pixels; base is subtracted from, and scale applied to, every value.
void run_to_rows(const float *from, int64_t plane, int64_t length, int labels, const float *base, float scale, int row,
                 float *to) {
    const int64_t fours = length / 4 * 4;
    int k = 0;
    for (; k + 4 <= labels; k += 4) {
        for (int64_t i = 0; i < fours; i += 4) {
            f4 v[4];
            for (int j = 0; j < 4; j++) v[j] = (*(const f4 *)(from + (k + j) * plane + i) - *(const f4 *)(base + i)) * scale;
            transpose(v);
            for (int j = 0; j < 4; j++) *(f4 *)(to + (i + j) * row + k) = v[j];
        }
        for (int64_t i = fours; i < length; i++) {
            for (int j = 0; j < 4; j++) to[i * row + k + j] = (from[(k + j) * plane + i] - base[i]) * scale;
        }
    }
    for (; k < labels; k++) {
        for (int64_t i = 0; i < length; i++) to[i * row + k] = (from[k * plane + i] - base[i]) * scale;
    }
}

void pad(int64_t length, int labels, int row, float value, float *to) {
    for (int64_t i = 0; i < length; i++) {
        for (int k = labels; k < row; k++) to[i * row + k] = value;
    }
}

} // namespace

bool energies_to_rows(const float *energy, int64_t height, int64_t width, int labels, int row, float *out) {
    const int64_t plane = height * width;
    float odd = 0; // becomes NaN with the first value that is not finite
    for_each_run_by_rows(height, width, [&](int64_t p, int64_t y, int64_t x, int64_t length) {
        const float *from = energy + y * width + x;
        float least[kStrip], zero[kStrip] = {};
        std::copy(from, from + length, least);
        for (int k = 0; k < labels; k++) {
            for (int64_t i = 0; i < length; i++) {
                least[i] = std::min(least[i], from[k * plane + i]);
                zero[i] += from[k * plane + i] * 0.f;
            }
        }
        for (int64_t i = 0; i < length; i++) odd += zero[i];
        run_to_rows(from, plane, length, labels, least, -kLog2e, row, out + p * row);
        pad(length, labels, row, -1e30f, out + p * row);
    });
    return odd == 0;
}

void planes_to_rows(const float *planes, int64_t height, int64_t width, int labels, int row, float *out) {
    const float zero[kStrip] = {};
    for_each_run_by_rows(height, width, [&](int64_t p, int64_t y, int64_t x, int64_t length) {
        run_to_rows(planes + y * width + x, height * width, length, labels, zero, 1, row, out + p * row);
        pad(length, labels, row, 0, out + p * row);
    });
}

void rows_to_planes(const float *rows, int64_t height, int64_t width, int labels, int row, float *out) {
    const int64_t plane = height * width;
    for_each_run_by_rows(height, width, [&](int64_t p, int64_t y, int64_t x, int64_t length) {
        const float *from = rows + p * row;
        float *to = out + y * width + x;
        const int64_t fours = length / 4 * 4;
        int k = 0;
        for (; k + 4 <= labels; k += 4) {
            for (int64_t i = 0; i < fours; i += 4) {
                f4 v[4];
                for (int j = 0; j < 4; j++) v[j] = *(const f4 *)(from + (i + j) * row + k);
                transpose(v);
                for (int j = 0; j < 4; j++) *(f4 *)(to + (k + j) * plane + i) = v[j];
            }
        }
        for (int j = 0; j < labels; j++) {
            for (int64_t i = j < k ? fours : 0; i < length; i++) to[j * plane + i] = from[i * row + j];
        }
    });
}

} // namespace crf
