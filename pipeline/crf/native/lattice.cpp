#include "lattice.hpp"
#include <algorithm>
#include <cmath>

namespace crf {
namespace {

constexpr uint64_t kEmpty = ~uint64_t(0);
constexpr int kRemainderBits = 3;

// A lattice point is d cell indices and a remainder 0..d, packed into 64 bits.
struct Packing {
    int d;
    int32_t least[kMaxDimension];
    int shift[kMaxDimension];
    uint64_t unit[kMaxDimension + 1]; // one step of a cell index; 0 for the last, which is not stored

    uint64_t pack(const Embedding &e, int lane) const {
        uint64_t key = 0;
        for (int i = 0; i < d; i++) key |= uint64_t(uint32_t(e.cell[i][lane] - least[i])) << shift[i];
        return key;
    }
    // The neighbour at -1 on every axis but +d on `direction`.
    uint64_t minus(uint64_t key, int direction) const {
        if (key & ((1 << kRemainderBits) - 1)) return key - 1 + unit[direction];
        key += d;
        for (int i = 0; i < d; i++) key -= i == direction ? 0 : unit[i];
        return key;
    }
};

// Bounds of the cell indices follow from those of the features, before any pixel is looked at.
Packing packing(int d, const double *most, const float *scale) {
    Packing out{};
    out.d = d;
    int shift = kRemainderBits;
    double above = 0;
    double high[kMaxDimension + 1], low[kMaxDimension + 1];
    for (int i = d; i >= 0; i--) {
        const double c = i ? most[i - 1] * scale[i - 1] : 0;
        high[i] = above / (d + 1) + 4;
        low[i] = -i * c / (d + 1) - 4;
        above += c;
    }
    for (int i = 0; i < d; i++) {
        const double range = high[i] - low[i] + 1;
        // Far below where float32 would stop telling cells apart, which place() relies on.
        if (!(range < double(1 << 16))) throw Error("sigma is too small for this image: the lattice gets too fine");
        int bits = 1;
        while ((1 << bits) <= range + 1) bits++;
        if (shift + bits > 63) throw Error("sigma is too small for this image: the lattice gets too fine");
        out.least[i] = int32_t(std::floor(low[i]));
        out.shift[i] = shift;
        out.unit[i] = uint64_t(1) << shift;
        shift += bits;
    }
    return out;
}

class Points {
  public:
    Points(Builder &scratch, int64_t n, int64_t most) : scratch_(scratch), most_(most) {
        bits_ = 12;
        while (bits_ < 40 && (int64_t(1) << bits_) < n / 4) bits_++;
        reset();
    }
    int32_t find_or_add(uint64_t key) {
        const int32_t id = find(key, at_);
        return id >= 0 ? id : add(key);
    }
    int32_t find(uint64_t key) {
        size_t at;
        return find(key, at);
    }
    void prefetch(uint64_t key) const { __builtin_prefetch(slots_ + slot(key)); }
    int64_t count() const { return count_; }
    const uint64_t *keys() const { return keys_; }

  private:
    size_t slot(uint64_t key) const { return size_t((key * 0x9E3779B97F4A7C15ull) >> (64 - bits_)); }
    int32_t find(uint64_t key, size_t &at) const {
        at = slot(key);
        while (true) {
            const Builder::Slot &slot = slots_[at];
            if (slot.key == key) return slot.id;
            if (slot.key == kEmpty) return -1;
            at = (at + 1) & mask_;
        }
    }
    int32_t add(uint64_t key) {
        if (count_ >= most_) throw Error("the lattice outgrows the memory: use larger sigmas or a smaller image");
        if (count_ == capacity_) {
            capacity_ = capacity_ + capacity_ / 2;
            keys_ = scratch_.keys.grow(capacity_, count_);
        }
        const int32_t id = int32_t(count_++);
        keys_[id] = key;
        slots_[at_] = {key, id, 0};
        if (size_t(count_) * 4 > mask_) {
            bits_++;
            reset();
        }
        return id;
    }
    void reset() {
        const size_t size = size_t(1) << bits_;
        mask_ = size - 1;
        slots_ = scratch_.table.need(size);
        std::memset(slots_, 0xff, size * sizeof(Builder::Slot));
        capacity_ = std::max<int64_t>(capacity_, int64_t(size / 2));
        keys_ = scratch_.keys.grow(capacity_, count_);
        for (int64_t i = 0; i < count_; i++) {
            find(keys_[i], at_);
            slots_[at_] = {keys_[i], int32_t(i), 0};
        }
    }
    Builder &scratch_;
    Builder::Slot *slots_ = nullptr;
    uint64_t *keys_ = nullptr;
    size_t mask_ = 0, at_ = 0;
    int64_t count_ = 0, capacity_ = 0, most_;
    int bits_ = 0;
};

// Features of a block of pixels, divided by their sigmas as pydensecrf does: float32, true division.
class Gather {
  public:
    explicit Gather(const Features &f) : f_(f), sxy_(float(f.sxy)), srgb_(float(f.srgb)) {
        for (int i = 0; i < 256; i++) colour_[i] = float(i) / srgb_;
    }
    void operator()(int64_t y, int64_t x, int length, int at, float (*out)[kBlock]) const {
        for (int i = 0; i < length; i++) {
            out[0][at + i] = float(x + i) / sxy_;
            out[1][at + i] = float(y) / sxy_;
        }
        const int64_t first = (y * f_.width + x) * 3;
        if (f_.bytes) {
            const uint8_t *p = f_.bytes + first;
            for (int i = 0; i < length; i++, p += 3) {
                for (int c = 0; c < 3; c++) out[2 + c][at + i] = colour_[p[c]];
            }
        } else if (f_.image) {
            const float *p = f_.image + first;
            for (int i = 0; i < length; i++, p += 3) {
                for (int c = 0; c < 3; c++) out[2 + c][at + i] = p[c] / srgb_;
            }
        }
    }

  private:
    Features f_;
    float sxy_, srgb_;
    float colour_[256];
};

// Points and weights of a block of pixels. All slots of the table are asked for before the first is looked at.
template <int d> void place(const Embedding &e, int count, const Packing &pack, Points &points, int32_t *rows, float *weights) {
    uint64_t keys[kBlock * (d + 1)];
    uint64_t *key = keys;
    for (int lane = 0; lane < count; lane++, key += d + 1, weights += d + 1) {
        float sorted[d + 1];
        uint64_t unit[d + 1];
        for (int i = 0; i <= d; i++) {
            const int32_t rank = e.rank[i][lane];
            sorted[rank] = e.residual[i][lane];
            unit[rank] = pack.unit[i];
        }
        key[0] = pack.pack(e, lane);
        weights[0] = sorted[d] + (1.f - sorted[0]);
        for (int r = 1; r <= d; r++) {
            key[r] = key[r - 1] + 1 - unit[d + 1 - r];
            weights[r] = sorted[d - r] - sorted[d + 1 - r];
        }
        for (int r = 0; r <= d; r++) points.prefetch(key[r]);
    }
    for (int i = 0; i < count * (d + 1); i++) rows[i] = points.find_or_add(keys[i]);
}

// Chains of length two and more in one direction; points without a neighbour keep their value and need no visit.
void chain(Lattice &out, Builder &scratch, const Packing &pack, Points &points, int direction, int64_t &used) {
    const int64_t m = out.m;
    int32_t *before = scratch.before.need(m), *after = scratch.after.need(m + 1) + 1, *order = scratch.order.need(m);
    std::memset(after - 1, 0xff, sizeof(int32_t) * (m + 1));
    constexpr int64_t ahead = 16;
    for (int64_t i = 0; i < m; i++) {
        if (i + ahead < m) points.prefetch(pack.minus(points.keys()[i + ahead], direction));
        const int32_t near = points.find(pack.minus(points.keys()[i], direction));
        before[i] = near;
        after[near] = int32_t(i); // after[-1] takes what has no neighbour
    }
    std::vector<int64_t> counts, next;
    int64_t starts = 0;
    for (int64_t i = 0; i < m; i++) {
        order[starts] = int32_t(i);
        starts += (before[i] < 0) & (after[i] >= 0);
    }
    for (int64_t s = 0; s < starts; s++) {
        const int32_t i = order[s];
        size_t length = 0;
        for (int64_t j = i; j >= 0; j = after[j]) length++;
        if (counts.size() <= length) counts.resize(length + 1);
        counts[length]++;
        before[i] = -int32_t(std::min<size_t>(length, INT32_MAX)); // remembered until the second walk
    }
    out.first_group[direction] = int(out.groups.size());
    out.first_id[direction] = used;
    next.resize(counts.size());
    for (size_t length = 2; length < counts.size(); length++) {
        next[length] = used;
        used += int64_t(length) * counts[length];
        if (counts[length]) out.groups.push_back({int32_t(length), int32_t(counts[length])});
    }
    int32_t *ids = out.ids.grow(used, out.first_id[direction]);
    for (int64_t s = 0; s < starts; s++) {
        int64_t &at = next[-before[order[s]]];
        for (int64_t j = order[s]; j >= 0; j = after[j]) ids[at++] = int32_t(j);
    }
}

} // namespace

void build(Lattice &out, Builder &scratch, const Features &f, const Kernels &kernels, int64_t most) {
    const int d = out.d = f.dimension();
    out.n = f.height * f.width;
    const double extent[5] = {double(f.width) / f.sxy, double(f.height) / f.sxy, 256 / f.srgb, 256 / f.srgb, 256 / f.srgb};
    float scale[kMaxDimension];
    const float inverse = float(std::sqrt(2. / 3.)) * (d + 1);
    for (int i = 0; i < d; i++) scale[i] = float(1. / std::sqrt(double(i + 2) * (i + 1)) * inverse);
    const Packing pack = packing(d, extent, scale);

    int32_t *rows = out.rows.need(size_t(out.n) * (d + 1));
    float *weights = out.weights.need(size_t(out.n) * (d + 1));
    Points points(scratch, out.n, most);
    const Gather gather(f);
    alignas(64) float features[kMaxDimension][kBlock] = {};
    Embedding embedding;
    int filled = 0;
    int64_t done = 0;
    const auto flush = [&] {
        kernels.embed(d, features, scale, &embedding);
        if (d == 5) place<5>(embedding, filled, pack, points, rows + done * 6, weights + done * 6);
        else place<2>(embedding, filled, pack, points, rows + done * 3, weights + done * 3);
        done += filled;
        filled = 0;
    };
    for_each_run(f.height, f.width, [&](int64_t, int64_t y, int64_t x, int64_t length) {
        if (filled + length > kBlock) flush();
        gather(y, x, int(length), filled, features);
        filled += int(length);
    });
    flush();

    out.m = points.count();
    out.groups.clear();
    int64_t used = 0;
    for (int j = 0; j <= d; j++) chain(out, scratch, pack, points, j, used);
    out.first_group[d + 1] = int(out.groups.size());
    out.first_id[d + 1] = used;
}

void normalise(Lattice &lattice, Builder &scratch) {
    const int e = lattice.d + 1;
    float *values = scratch.values.need(lattice.m);
    std::fill(values, values + lattice.m, 0.f);
    const int32_t *rows = lattice.rows.data();
    float *weights = lattice.weights.data();
    for (int64_t i = 0; i < lattice.n * e; i++) values[rows[i]] += weights[i];
    for (int j = 0; j < e; j++) blur_values(lattice.chains(j), values);
    const float alpha = lattice.alpha();
    for (int64_t p = 0; p < lattice.n; p++) {
        float sum = 0;
        for (int k = 0; k < e; k++) sum += weights[p * e + k] * values[rows[p * e + k]] * alpha;
        const float factor = 1.f / std::sqrt(sum + 1e-20f);
        for (int k = 0; k < e; k++) weights[p * e + k] *= factor;
    }
}

} // namespace crf
