// The permutohedral lattice of one image: which points every pixel touches, and the chains the blur runs along.
#pragma once
#include "kernels.hpp"
#include "memory.hpp"
#include <stdexcept>
#include <vector>

namespace crf {

// Something the caller can mend; the message goes to the user.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Pixels are visited in vertical strips so that the rows they touch stay near; position p of that order is...
constexpr int kStrip = 32;
template <class Use> void for_each_run(int64_t height, int64_t width, Use use) { // use(position, y, x, length)
    int64_t p = 0;
    for (int64_t x = 0; x < width; x += kStrip) {
        const int64_t length = width - x < kStrip ? width - x : kStrip;
        for (int64_t y = 0; y < height; y++, p += length) use(p, y, x, length);
    }
}

// The same runs in the order of the image's memory.
template <class Use> void for_each_run_by_rows(int64_t height, int64_t width, Use use) {
    for (int64_t y = 0; y < height; y++) {
        for (int64_t x = 0; x < width; x += kStrip) {
            const int64_t length = width - x < kStrip ? width - x : kStrip;
            use(x * height + y * length, y, x, length);
        }
    }
}

struct Features {
    int64_t height, width;
    const float *image; // [height][width][3] or null: position only
    const uint8_t *bytes; // the same as uint8, the other one is null
    double sxy, srgb;
    int dimension() const { return image || bytes ? 5 : 2; }
};

struct Lattice {
    int d = 0;
    int64_t n = 0; // pixels
    int64_t m = 0; // lattice points
    Buffer<int32_t> rows;   // [n][d + 1]
    Buffer<float> weights;  // [n][d + 1] barycentric, or normalised
    Buffer<int32_t> ids;    // chains of all directions
    std::vector<ChainGroup> groups;
    int64_t first_id[kMaxDimension + 2];
    int first_group[kMaxDimension + 2];

    float alpha() const { return 1.f / (1.f + 1.f / float(1 << d)); }
    ChainView chains(int direction) const {
        return {ids.data() + first_id[direction], groups.data() + first_group[direction],
                first_group[direction + 1] - first_group[direction]};
    }
    size_t bytes() const { return rows.bytes() + weights.bytes() + ids.bytes(); }
};

// Memory of the construction, reused.
struct Builder {
    struct Slot {
        uint64_t key;
        int32_t id, unused;
    };
    Buffer<Slot> table;
    Buffer<uint64_t> keys;
    Buffer<int32_t> before, after, order;
    Buffer<float> values;
    size_t bytes() const {
        return table.bytes() + keys.bytes() + before.bytes() + after.bytes() + order.bytes() + values.bytes();
    }
};

// Throws Error where the sigmas make the lattice too fine for its keys or it gets more than `most` points, and
// std::bad_alloc where memory ends.
constexpr int64_t kMostPoints = INT32_MAX - 1;
void build(Lattice &out, Builder &scratch, const Features &features, const Kernels &kernels, int64_t most = kMostPoints);

// One direction of the blur over one number per point.
template <class T> void blur_values(const ChainView &chains, T *values) {
    const int32_t *ids = chains.ids;
    for (int g = 0; g < chains.group_count; g++) {
        const ChainGroup group = chains.groups[g];
        for (int c = 0; c < group.count; c++, ids += group.length) {
            T before = 0, here = values[ids[0]];
            for (int i = 0; i < group.length; i++) {
                const T after = i + 1 < group.length ? values[ids[i + 1]] : 0;
                values[ids[i]] = here + T(.5) * (before + after);
                before = here;
                here = after;
            }
        }
    }
}

// weights *= 1 / sqrt(filter of ones), on both sides: pydensecrf's NORMALIZE_SYMMETRIC.
void normalise(Lattice &lattice, Builder &scratch);

} // namespace crf
