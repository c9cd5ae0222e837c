#include "filter.hpp"
#include "rows.hpp"
#include <algorithm>

namespace crf {

void filter(const Lattice &l, int64_t height, int64_t width, int channels, const float *in, float *out, bool adjoint) {
    const Kernels &kernels = *best_kernels();
    const Shape shape = kernels.shape(channels);
    const int row = shape.width();
    static thread_local Buffer<float> pixels, values; // a training step filters the same shapes again and again
    planes_to_rows(in, height, width, channels, row, pixels.need(size_t(l.n) * row));
    std::fill_n(values.need(size_t(l.m) * row), size_t(l.m) * row, 0.f);
    const TermView view{l.rows.data(), l.weights.data(), l.d + 1, l.alpha(), values.data(), values.data()};
    kernels.splat(shape, pixels.data(), l.n, &view);
    for (int j = 0; j <= l.d; j++) {
        const ChainView chains = l.chains(adjoint ? l.d - j : j);
        kernels.blur(shape, values.data(), &chains);
    }
    kernels.slice(shape, pixels.data(), l.n, &view);
    rows_to_planes(pixels.data(), height, width, channels, row, out);
}

void filter(const Lattice &l, int64_t height, int64_t width, int channels, const double *in, double *out,
            bool adjoint) {
    const int e = l.d + 1;
    const double alpha = 1. / (1. + 1. / (1 << l.d));
    std::vector<double> values(l.m);
    for (int k = 0; k < channels; k++, in += l.n, out += l.n) {
        std::fill(values.begin(), values.end(), 0.);
        for_each_run(height, width, [&](int64_t p, int64_t y, int64_t x, int64_t length) {
            for (int64_t i = 0; i < length * e; i++) {
                values[l.rows.data()[p * e + i]] += l.weights.data()[p * e + i] * in[y * width + x + i / e];
            }
        });
        for (int j = 0; j < e; j++) blur_values(l.chains(adjoint ? l.d - j : j), values.data());
        for_each_run(height, width, [&](int64_t p, int64_t y, int64_t x, int64_t length) {
            for (int64_t i = 0; i < length; i++) {
                double sum = 0;
                for (int v = 0; v < e; v++) {
                    sum += l.weights.data()[(p + i) * e + v] * values[l.rows.data()[(p + i) * e + v]];
                }
                out[y * width + x + i] = alpha * sum;
            }
        });
    }
}

} // namespace crf
