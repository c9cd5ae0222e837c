// Included by kernels_*.cpp with CRF_LANES set and the instruction set switched on; see kernels.hpp.
// GCC/Clang vector extensions throughout; products are fused only where fma() says so, so that the embedding rounds
// alike on every machine (the build sets -ffp-contract=off).

namespace {

using namespace crf;

typedef float f4 __attribute__((vector_size(16), may_alias));
typedef float f8 __attribute__((vector_size(32), may_alias));
typedef float f16 __attribute__((vector_size(64), may_alias));
typedef int32_t i4 __attribute__((vector_size(16), may_alias));
typedef int32_t i8 __attribute__((vector_size(32), may_alias));
typedef int32_t i16 __attribute__((vector_size(64), may_alias));

template <class V> struct Traits;
template <> struct Traits<f4> { typedef i4 I; static constexpr int lanes = 4; };
template <> struct Traits<f8> { typedef i8 I; static constexpr int lanes = 8; };
template <> struct Traits<f16> { typedef i16 I; static constexpr int lanes = 16; };

#if CRF_LANES == 16
typedef f16 Wide;
#elif CRF_LANES == 8
typedef f8 Wide;
#else
typedef f4 Wide;
#endif

#define CRF_INLINE inline __attribute__((always_inline))

CRF_INLINE f4 fma(f4 a, f4 b, f4 c) {
#if CRF_LANES >= 8
    return (f4)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#else
    return a * b + c;
#endif
}
#if CRF_LANES >= 8
CRF_INLINE f8 fma(f8 a, f8 b, f8 c) { return (f8)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
#endif
#if CRF_LANES >= 16
CRF_INLINE f16 fma(f16 a, f16 b, f16 c) { return (f16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
#endif

template <class V> CRF_INLINE V all(float x) { return x - V{}; } // not x + V{}: that is an addition, for -0
template <class V> CRF_INLINE V load(const float *p) { return *(const V *)p; }
template <class V> CRF_INLINE void store(float *p, V v) { *(V *)p = v; }
#if CRF_LANES >= 16
CRF_INLINE f16 larger(f16 a, f16 b) { return (f16)_mm512_max_ps((__m512)a, (__m512)b); }
#endif
#if CRF_LANES >= 8
CRF_INLINE f8 larger(f8 a, f8 b) { return (f8)_mm256_max_ps((__m256)a, (__m256)b); }
CRF_INLINE f4 larger(f4 a, f4 b) { return (f4)_mm_max_ps((__m128)a, (__m128)b); }
#else
CRF_INLINE f4 larger(f4 a, f4 b) { return a > b ? a : b; }
#endif

// The largest (Max) or the sum of the lanes of groups of four, eight or sixteen, in every lane.
template <bool Max, class V> CRF_INLINE V fold(V a, V b) { return Max ? larger(a, b) : a + b; }
template <bool Max> CRF_INLINE f4 across(f4 v) {
    v = fold<Max>(v, __builtin_shufflevector(v, v, 1, 0, 3, 2));
    return fold<Max>(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
}
#if CRF_LANES >= 8
template <bool Max> CRF_INLINE f8 quads(f8 v) {
    v = fold<Max>(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6));
    return fold<Max>(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5));
}
template <bool Max> CRF_INLINE f8 across(f8 v) {
    v = fold<Max>(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3));
    return quads<Max>(v);
}
#endif
#if CRF_LANES >= 16
template <bool Max> CRF_INLINE f16 quads(f16 v) {
    v = fold<Max>(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    return fold<Max>(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
}
template <bool Max> CRF_INLINE f16 across(f16 v) {
    v = fold<Max>(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    v = fold<Max>(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    return quads<Max>(v);
}
#endif
template <bool Max> CRF_INLINE f4 quads(f4 v) { return across<Max>(v); }

// 2^x within two units in the last place. Below -125 it is at most 2^-125, above 125 at least 2^125. Logits are kept in units of ln 2, so this is all that softmax needs.
#if CRF_LANES == 16
CRF_INLINE f16 round_to_int(f16 x) { return (f16)_mm512_roundscale_ps((__m512)x, 0); }
CRF_INLINE f16 scale_by(f16 p, f16 n) { return (f16)_mm512_scalef_ps((__m512)p, (__m512)n); }
CRF_INLINE f8 round_to_int(f8 x) { return (f8)_mm256_roundscale_ps((__m256)x, 0); }
CRF_INLINE f8 scale_by(f8 p, f8 n) { return (f8)_mm256_scalef_ps((__m256)p, (__m256)n); }
CRF_INLINE f4 round_to_int(f4 x) { return (f4)_mm_roundscale_ps((__m128)x, 0); }
CRF_INLINE f4 scale_by(f4 p, f4 n) { return (f4)_mm_scalef_ps((__m128)p, (__m128)n); }
template <class V> CRF_INLINE V bounded(V x) { return x; }
#else
template <class V> CRF_INLINE V round_to_int(V x) {
    const V magic = all<V>(12582912.f); // 1.5 * 2^23
    return (x + magic) - magic;
}
template <class V> CRF_INLINE V scale_by(V p, V n) {
    typedef typename Traits<V>::I I;
    return (V)((I)p + (__builtin_convertvector(n, I) << 23));
}
template <class V> CRF_INLINE V bounded(V x) { return -larger(-larger(x, all<V>(-125.f)), all<V>(-125.f)); }
#endif
template <class V> CRF_INLINE V power_of_two(V x) {
    x = bounded(x);
    const V n = round_to_int(x), r = x - n;
    V p = all<V>(1.327647196e-3f); // minimax on [-1/2, 1/2], relative error 7.5e-8
    p = fma(p, r, all<V>(9.675541503e-3f));
    p = fma(p, r, all<V>(5.550713275e-2f));
    p = fma(p, r, all<V>(2.402211972e-1f));
    p = fma(p, r, all<V>(6.931469671e-1f));
    p = fma(p, r, all<V>(1.000000072f));
    return scale_by(p, n);
}

// ---- rows of several vectors, one pixel at a time ----

template <int E, class V, int NV> CRF_INLINE void read_rows(const TermView &t, int64_t p, V *sum) {
    const int32_t *rows = t.rows + p * E;
    const float *weights = t.weights + p * E, *base = t.read;
    V part[NV];
    for (int v = 0; v < NV; v++) part[v] = V{};
#pragma GCC unroll 8
    for (int e = 0; e < E; e++) {
        const float *row = base + int64_t(rows[e]) * (NV * Traits<V>::lanes);
        const V w = all<V>(weights[e]);
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) part[v] = fma(load<V>(row + v * Traits<V>::lanes), w, part[v]);
    }
    const V scale = all<V>(t.scale);
    for (int v = 0; v < NV; v++) sum[v] = fma(part[v], scale, sum[v]);
}

template <int E, class V, int NV> CRF_INLINE void add_rows(const TermView &t, int64_t p, const V *value) {
    const int32_t *rows = t.rows + p * E;
    const float *weights = t.weights + p * E;
    float *base = t.write;
#pragma GCC unroll 8
    for (int e = 0; e < E; e++) {
        float *row = base + int64_t(rows[e]) * (NV * Traits<V>::lanes);
        const V w = all<V>(weights[e]);
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) {
            float *at = row + v * Traits<V>::lanes;
            store<V>(at, fma(value[v], w, load<V>(at)));
        }
    }
}

template <class V, int NV> CRF_INLINE void read_term(const TermView &t, int64_t p, V *sum) {
    if (t.vertices == 6) read_rows<6, V, NV>(t, p, sum);
    else read_rows<3, V, NV>(t, p, sum);
}

template <class V, int NV> CRF_INLINE void add_term(const TermView &t, int64_t p, const V *value) {
    if (t.vertices == 6) add_rows<6, V, NV>(t, p, value);
    else add_rows<3, V, NV>(t, p, value);
}

template <class V, int NV> CRF_INLINE void stable_softmax(V *x) {
    V top = x[0], sum = V{};
    for (int v = 1; v < NV; v++) top = larger(top, x[v]);
    top = across<true>(top);
    for (int v = 0; v < NV; v++) sum += x[v] = power_of_two<V>(x[v] - top);
    const V inverse = all<V>(1.f / across<false>(sum)[0]);
    for (int v = 0; v < NV; v++) x[v] *= inverse;
}

CRF_INLINE f4 halves(f4 v) { return v; }
#if CRF_LANES >= 8
CRF_INLINE f4 halves(f8 v) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
}
#endif
#if CRF_LANES >= 16
CRF_INLINE f4 halves(f16 v) {
    return halves(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                  __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
}
#endif

// Lane g is the sum over the lanes of sum[g].
template <class V> CRF_INLINE f4 four_sums(const V *sum) {
    const f4 a = halves(sum[0]), b = halves(sum[1]), c = halves(sum[2]), d = halves(sum[3]);
    const f4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const f4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

// out[i] = 2^rows[i] for N consecutive vectors.
template <class V, int N> CRF_INLINE void powers(const float *rows, V *out) {
    int v = 0;
#if CRF_LANES == 16
    if constexpr (sizeof(V) == 32) { // two at a time in the wide unit
#pragma GCC unroll 16
        for (; v + 2 <= N; v += 2) {
            const f16 both = power_of_two<f16>(load<f16>(rows + v * 8));
            out[v] = __builtin_shufflevector(both, both, 0, 1, 2, 3, 4, 5, 6, 7);
            out[v + 1] = __builtin_shufflevector(both, both, 8, 9, 10, 11, 12, 13, 14, 15);
        }
    }
#endif
#pragma GCC unroll 16
    for (; v < N; v++) out[v] = power_of_two<V>(load<V>(rows + v * Traits<V>::lanes));
}

template <class V, int NV> CRF_INLINE void softmax1(float *row) {
    constexpr int lanes = Traits<V>::lanes;
    V x[NV];
    for (int v = 0; v < NV; v++) x[v] = load<V>(row + v * lanes);
    stable_softmax<V, NV>(x);
    for (int v = 0; v < NV; v++) store<V>(row + v * lanes, x[v]);
}

CRF_INLINE bool any(i4 mask) {
    typedef int64_t l2 __attribute__((vector_size(16), may_alias));
    return ((l2)mask)[0] | ((l2)mask)[1];
}

// Softmax of four pixels side by side: one alone is a chain of latencies. Logits arrive with their largest at zero and
// messages are small, so the largest is not looked for unless a sum comes out of range.
template <class V, int NV> CRF_INLINE void softmax4(float *rows) {
    constexpr int lanes = Traits<V>::lanes;
    V e[4 * NV], sum[4];
    powers<V, 4 * NV>(rows, e);
    for (int g = 0; g < 4; g++) {
        sum[g] = e[g * NV];
        for (int v = 1; v < NV; v++) sum[g] += e[g * NV + v];
    }
    const f4 total = four_sums<V>(sum), inverse = 1.f / total;
    if (__builtin_expect(any(~((total > 1e-30f) & (total < 1e30f))), 0)) {
        for (int g = 0; g < 4; g++) softmax1<V, NV>(rows + g * NV * lanes);
        return;
    }
    for (int g = 0; g < 4; g++) {
        for (int v = 0; v < NV; v++) store<V>(rows + (g * NV + v) * lanes, e[g * NV + v] * all<V>(inverse[g]));
    }
}

#if CRF_LANES == 16
template <> CRF_INLINE void softmax4<f4, 1>(float *rows) {
    f16 w = load<f16>(rows);
    w = power_of_two<f16>(w - quads<true>(w));
    store<f16>(rows, w / quads<false>(w));
}
#elif CRF_LANES == 8
template <> CRF_INLINE void softmax4<f4, 1>(float *rows) {
    for (int i = 0; i < 16; i += 8) {
        f8 w = load<f8>(rows + i);
        w = power_of_two<f8>(w - quads<true>(w));
        store<f8>(rows + i, w / quads<false>(w));
    }
}
#endif

// Ask for memory that is read next; the strides of so many streams escape the hardware.
template <class T> CRF_INLINE void fetch(const T *from, int count) {
    for (int i = 0; i < count; i += 64 / int(sizeof(T))) __builtin_prefetch(from + i);
}

template <class V, int NV> struct Rows {
    static constexpr int lanes = Traits<V>::lanes;
    static constexpr int width = NV * lanes;

    // to = from + messages of the terms.
    static CRF_INLINE void add_messages(const float *from, float *to, int64_t p, int64_t n, const TermView *terms,
                                        int count) {
        for (int64_t i = 0; i < n; i++) {
            V x[NV];
            for (int v = 0; v < NV; v++) x[v] = load<V>(from + i * width + v * lanes);
            for (int t = 0; t < count; t++) read_term<V, NV>(terms[t], p + i, x);
            for (int v = 0; v < NV; v++) store<V>(to + i * width + v * lanes, x[v]);
        }
    }
    static CRF_INLINE void softmax(float *rows, int64_t n) {
        int64_t i = 0;
        for (; i + 4 <= n; i += 4) softmax4<V, NV>(rows + i * width);
        for (; i < n; i++) softmax1<V, NV>(rows + i * width);
    }
    static CRF_INLINE void fetch_block(const float *rows, int64_t p, const TermView *terms, int count) {
        fetch(rows + p * width, kBlock * width);
        for (int t = 0; t < count; t++) {
            fetch(terms[t].rows + p * terms[t].vertices, kBlock * terms[t].vertices);
            fetch(terms[t].weights + p * terms[t].vertices, kBlock * terms[t].vertices);
        }
    }
    // Slicing, softmax and splatting take turns over blocks that stay in the first cache: interleaved pixel by pixel,
    // the loads of one wait for the stores of the other, which costs more than the detour.
    static void step(const float *rows, int64_t n, const TermView *terms, int count, bool slice) {
        alignas(64) float block[kBlock * width];
        for (int64_t p = 0; p < n; p += kBlock) {
            const int64_t length = n - p < kBlock ? n - p : kBlock;
            if (p + 2 * kBlock <= n) fetch_block(rows, p + kBlock, terms, count);
            add_messages(rows + p * width, block, p, length, terms, slice ? count : 0);
            softmax(block, length);
            for (int t = 0; t < count; t++) splat_run(block, p, length, terms[t]);
        }
    }
    static void finish(float *rows, int64_t n, const TermView *terms, int count) {
        for (int64_t p = 0; p < n; p += kBlock) {
            const int64_t length = n - p < kBlock ? n - p : kBlock;
            add_messages(rows + p * width, rows + p * width, p, length, terms, count);
            softmax(rows + p * width, length);
        }
    }
    static CRF_INLINE void splat_run(const float *block, int64_t p, int64_t n, const TermView &term) {
        for (int64_t i = 0; i < n; i++) {
            V x[NV];
            for (int v = 0; v < NV; v++) x[v] = load<V>(block + i * width + v * lanes);
            add_term<V, NV>(term, p + i, x);
        }
    }
    static void splat(const float *rows, int64_t n, const TermView *term) {
        for (int64_t p = 0; p < n; p++) {
            V x[NV];
            for (int v = 0; v < NV; v++) x[v] = load<V>(rows + p * width + v * lanes);
            add_term<V, NV>(*term, p, x);
        }
    }
    static void slice(float *rows, int64_t n, const TermView *term) {
        for (int64_t p = 0; p < n; p++) {
            V x[NV];
            for (int v = 0; v < NV; v++) x[v] = V{};
            read_term<V, NV>(*term, p, x);
            for (int v = 0; v < NV; v++) store<V>(rows + p * width + v * lanes, x[v]);
        }
    }
    static CRF_INLINE void blur_chain(float *values, const int32_t *ids, int length) {
        V before[NV], here[NV];
        float *row = values + int64_t(ids[0]) * width;
        for (int v = 0; v < NV; v++) before[v] = V{}, here[v] = load<V>(row + v * lanes);
        const V half = all<V>(.5f);
        for (int i = 1; i < length; i++) {
            float *next = values + int64_t(ids[i]) * width;
            for (int v = 0; v < NV; v++) {
                const V after = load<V>(next + v * lanes);
                store<V>(row + v * lanes, fma(before[v] + after, half, here[v]));
                before[v] = here[v];
                here[v] = after;
            }
            row = next;
        }
        for (int v = 0; v < NV; v++) store<V>(row + v * lanes, fma(before[v], half, here[v]));
    }
    static void blur(float *values, const ChainView *chains) {
        const int32_t *ids = chains->ids;
        for (int g = 0; g < chains->group_count; g++) {
            const ChainGroup group = chains->groups[g];
            for (int c = 0; c < group.count; c++, ids += group.length) blur_chain(values, ids, group.length);
        }
    }
};

// ---- any number of labels: the row is walked vector by vector ----

template <class V> struct LongRows {
    static constexpr int lanes = Traits<V>::lanes;

    template <bool Slice, bool Splat, bool Soft> static void pass(float *rows, int64_t n, int nv, const TermView *terms,
                                                                  int count, float *scratch) {
        const int width = nv * lanes;
        for (int64_t p = 0; p < n; p++) {
            float *source = rows + p * width;
            float *x = Soft && Splat ? scratch : source;
            if (x != source) __builtin_memcpy(x, source, sizeof(float) * width);
            if (Slice) {
                for (int t = 0; t < count; t++) read(terms[t], p, x, nv);
            }
            if (Soft) soft(x, nv);
            if (Splat) {
                for (int t = 0; t < count; t++) add(terms[t], p, x, nv);
            }
        }
    }
    static CRF_INLINE void read(const TermView &t, int64_t p, float *x, int nv) {
        for (int v = 0; v < nv; v++) {
            V part = V{};
            for (int e = 0; e < t.vertices; e++) {
                const float *row = t.read + int64_t(t.rows[p * t.vertices + e]) * nv * lanes;
                part = fma(load<V>(row + v * lanes), all<V>(t.weights[p * t.vertices + e]), part);
            }
            store<V>(x + v * lanes, fma(part, all<V>(t.scale), load<V>(x + v * lanes)));
        }
    }
    static CRF_INLINE void add(const TermView &t, int64_t p, const float *x, int nv) {
        for (int e = 0; e < t.vertices; e++) {
            float *row = t.write + int64_t(t.rows[p * t.vertices + e]) * nv * lanes;
            const V w = all<V>(t.weights[p * t.vertices + e]);
            for (int v = 0; v < nv; v++) {
                store<V>(row + v * lanes, fma(load<V>(x + v * lanes), w, load<V>(row + v * lanes)));
            }
        }
    }
    static CRF_INLINE void soft(float *x, int nv) {
        V top = load<V>(x), sum = V{};
        for (int v = 1; v < nv; v++) top = larger(top, load<V>(x + v * lanes));
        top = across<true>(top);
        for (int v = 0; v < nv; v++) {
            const V e = power_of_two<V>(load<V>(x + v * lanes) - top);
            sum += e;
            store<V>(x + v * lanes, e);
        }
        const V inverse = all<V>(1.f / across<false>(sum)[0]);
        for (int v = 0; v < nv; v++) store<V>(x + v * lanes, load<V>(x + v * lanes) * inverse);
    }
    static void blur(float *values, int nv, const ChainView *chains) {
        for (int v = 0; v < nv; v++) {
            const int32_t *ids = chains->ids;
            for (int g = 0; g < chains->group_count; g++) {
                const ChainGroup group = chains->groups[g];
                for (int c = 0; c < group.count; c++, ids += group.length) {
                    V before = V{}, here = load<V>(values + (int64_t(ids[0]) * nv + v) * lanes);
                    for (int i = 0; i < group.length; i++) {
                        V after = V{};
                        if (i + 1 < group.length) after = load<V>(values + (int64_t(ids[i + 1]) * nv + v) * lanes);
                        store<V>(values + (int64_t(ids[i]) * nv + v) * lanes,
                                 fma(before + after, all<V>(.5f), here));
                        before = here;
                        here = after;
                    }
                }
            }
        }
    }
};

constexpr int kMaxLabels = 4096; // checked by the caller

// ---- the table ----

Shape shape(int labels) {
    if (labels <= 4) return {4, 1};
#if CRF_LANES >= 8
    if (labels <= 8) return {8, 1};
    if (labels > 16 && labels <= 24) return {8, 3};
#endif
    return {CRF_LANES, (labels + CRF_LANES - 1) / CRF_LANES};
}

// Calls `use` with the row type of a shape; false where only LongRows fits.
template <class Use> CRF_INLINE bool with_rows(Shape s, Use use) {
#if CRF_LANES == 16
    if (s.lanes == 8 && s.vectors == 1) return use(Rows<f8, 1>{}), true;
    if (s.lanes == 8) return use(Rows<f8, 3>{}), true;
#endif
    if (s.lanes == 4 && s.vectors == 1) return use(Rows<f4, 1>{}), true;
    switch (s.vectors) {
    case 1: return use(Rows<Wide, 1>{}), true;
    case 2: return use(Rows<Wide, 2>{}), true;
    case 3: return use(Rows<Wide, 3>{}), true;
    case 4: return use(Rows<Wide, 4>{}), true;
#if CRF_LANES < 16
    case 5: return use(Rows<Wide, 5>{}), true;
    case 6: return use(Rows<Wide, 6>{}), true;
#endif
    default: return false;
    }
}

void step(Shape s, const float *rows, int64_t n, const TermView *terms, int count, bool slice) {
    float *at = const_cast<float *>(rows); // only read: the probabilities go to the lattice
    if (with_rows(s, [&](auto kind) { decltype(kind)::step(at, n, terms, count, slice); })) return;
    alignas(64) float scratch[kMaxLabels];
    if (slice) LongRows<Wide>::pass<true, true, true>(at, n, s.vectors, terms, count, scratch);
    else LongRows<Wide>::pass<false, true, true>(at, n, s.vectors, terms, count, scratch);
}

void finish(Shape s, float *rows, int64_t n, const TermView *terms, int count) {
    if (with_rows(s, [&](auto kind) { decltype(kind)::finish(rows, n, terms, count); })) return;
    LongRows<Wide>::pass<true, false, true>(rows, n, s.vectors, terms, count, nullptr);
}

void splat(Shape s, const float *rows, int64_t n, const TermView *term) {
    if (with_rows(s, [&](auto kind) { decltype(kind)::splat(rows, n, term); })) return;
    LongRows<Wide>::pass<false, true, false>(const_cast<float *>(rows), n, s.vectors, term, 1, nullptr);
}

void slice(Shape s, float *rows, int64_t n, const TermView *term) {
    if (with_rows(s, [&](auto kind) { decltype(kind)::slice(rows, n, term); })) return;
    __builtin_memset(rows, 0, sizeof(float) * n * s.width());
    LongRows<Wide>::pass<true, false, false>(rows, n, s.vectors, term, 1, nullptr);
}

void blur(Shape s, float *values, const ChainView *chains) {
    if (with_rows(s, [&](auto kind) { decltype(kind)::blur(values, chains); })) return;
    LongRows<Wide>::blur(values, s.vectors, chains);
}

// Adams, Baek, Davis: Fast high-dimensional filtering using the permutohedral lattice (2010), section 3.
template <int d> void embed_block(const float (*features)[kBlock], const float *scale, Embedding *out) {
    typedef typename Traits<Wide>::I I;
    const Wide up = all<Wide>(d + 1), down = all<Wide>(1.f / (d + 1)), magic = all<Wide>(12582912.f);
    for (int at = 0; at < kBlock; at += CRF_LANES) {
        Wide elevated[d + 1], corner[d + 1], residual[d + 1], drift = Wide{};
        Wide sum = Wide{};
        for (int i = d; i > 0; i--) {
            const Wide c = load<Wide>(features[i - 1] + at) * scale[i - 1];
            elevated[i] = sum - float(i) * c;
            sum += c;
        }
        elevated[0] = sum;
        I cell[d + 1];
        for (int i = 0; i <= d; i++) {
            const Wide rounded = (elevated[i] * down + magic) - magic;
            cell[i] = __builtin_convertvector(rounded, I);
            corner[i] = rounded * up;
            residual[i] = elevated[i] - corner[i];
            drift += rounded;
        }
        I rank[d + 1];
        for (int i = 0; i <= d; i++) rank[i] = I{};
        for (int i = 0; i < d; i++) {
            for (int j = i + 1; j <= d; j++) {
                const I less = residual[i] < residual[j]; // -1 where true
                rank[i] -= less;
                rank[j] += less + 1;
            }
        }
        const I off = __builtin_convertvector(drift, I);
        for (int i = 0; i <= d; i++) {
            rank[i] += off;
            const I low = rank[i] < 0, high = rank[i] > d;
            rank[i] += (low & (d + 1)) - (high & (d + 1));
            cell[i] += high - low;
            const Wide moved = __builtin_convertvector(cell[i], Wide) * up;
            *(I *)(out->cell[i] + at) = cell[i];
            *(I *)(out->rank[i] + at) = rank[i];
            store<Wide>(out->residual[i] + at, (elevated[i] - moved) * down);
        }
    }
}

void embed(int d, const float (*features)[kBlock], const float *scale, Embedding *out) {
    if (d == 5) embed_block<5>(features, scale, out);
    else embed_block<2>(features, scale, out);
}

const Kernels table = {CRF_NAME, shape, embed, step, finish, splat, slice, blur};

} // namespace
