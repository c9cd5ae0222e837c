// Inner loops of the permutohedral lattice, one table of functions per instruction set.
//
// kernels.inl holds the code once; kernels_*.cpp compile it for a baseline, AVX2 and AVX-512, and best_kernels() picks
// at run time. Nothing here allocates, locks or throws.
#pragma once
#include <cstdint>

namespace crf {

constexpr int kBlock = 64;       // pixels embedded at a time
constexpr int kMaxDimension = 5; // x, y, r, g, b

// Rows of the lattice hold `width` floats, labels first, zeros after.
struct Shape {
    int lanes;   // floats per vector; 4 with vectors == 1 is the narrow case of up to four labels
    int vectors; // vectors per row
    int width() const { return lanes * vectors; }
};

// One pairwise term as the pixel loop sees it: pixel p touches `vertices` rows, with weights normalised beforehand.
struct TermView {
    const int32_t *rows;  // [n][vertices]
    const float *weights; // [n][vertices]
    int vertices;
    float scale;       // of what is read: alpha * compatibility
    float *read; // values [m][width] after the blur
    float *write;      // values [m][width] that the next blur starts from
};

// Chains of lattice points that follow each other in one direction, grouped by length.
struct ChainGroup {
    int32_t length, count;
};
struct ChainView {
    const int32_t *ids; // chains of the first group, then of the second...
    const ChainGroup *groups;
    int group_count;
};

// Simplices of a block of pixels; lane-wise arrays so that they vectorise.
struct Embedding {
    alignas(64) int32_t cell[kMaxDimension + 1][kBlock];  // nearest remainder-0 point, in units of d + 1
    alignas(64) int32_t rank[kMaxDimension + 1][kBlock];  // 0 = largest residual
    alignas(64) float residual[kMaxDimension + 1][kBlock]; // in units of d + 1
};

struct Kernels {
    const char *name;
    // Row layout for a number of labels.
    Shape (*shape)(int labels);
    // features[d][kBlock], already divided by their sigmas.
    void (*embed)(int d, const float (*features)[kBlock], const float *scale, Embedding *out);
    // rows[n][width] = logits in units of ln 2 -> softmax, splatted onto every term; with `slice`, messages are added to the logits first.
    void (*step)(Shape, const float *logits, int64_t n, const TermView *terms, int count, bool slice);
    // As step, but the probabilities replace the logits.
    void (*finish)(Shape, float *logits, int64_t n, const TermView *terms, int count);
    // Plain filter: splat values[n][width]; slice into values[n][width].
    void (*splat)(Shape, const float *values, int64_t n, const TermView *term);
    void (*slice)(Shape, float *values, int64_t n, const TermView *term);
    // One direction of the blur, in place: v[i] += (v[i - 1] + v[i + 1]) / 2 along every chain.
    void (*blur)(Shape, float *values, const ChainView *chains);
};

const Kernels *kernels_baseline();
const Kernels *kernels_avx2();   // null where the compiler or the machine lacks it
const Kernels *kernels_avx512();
const Kernels *best_kernels();   // at most what the environment variable PSEUDOMASK_ISA names

} // namespace crf
