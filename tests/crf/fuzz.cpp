// Random images, sizes, labels, sigmas, energies and compatibilities through the whole engine, under the sanitizers.
// Built and run by sanitize.py. Arguments: seconds, seed.
#include "../../pipeline/crf/native/filter.hpp"
#include "../../pipeline/crf/native/meanfield.hpp"
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace {

std::mt19937 random_bits;

double uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(random_bits); }
int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_bits); }
double sigma() { return pick(0, 3) ? std::pow(10., uniform(-1, 2.5)) : std::pow(10., uniform(-40, 40)); }

// Exactly sized, so that a read past the end is seen.
template <class T, class Make> std::vector<T> numbers(size_t count, Make make) {
    std::vector<T> out(count);
    for (T &value : out) value = T(make());
    out.shrink_to_fit();
    return out;
}

void mean_field() {
    const int height = pick(1, pick(0, 9) ? 40 : 300), width = pick(1, pick(0, 9) ? 40 : 300);
    const int labels = pick(0, 19) ? pick(1, 40) : pick(1, 300), n = height * width;
    const int contrast = pick(0, 2) ? 255 : pick(0, 20);
    const auto image = numbers<uint8_t>(size_t(n) * 3, [&] { return pick(0, contrast); });
    const double size = pick(0, 4) ? 10 : std::pow(10., uniform(0, 30));
    std::vector<std::vector<float>> energies, results, compats;
    std::vector<const float *> in;
    std::vector<float *> out;
    for (int i = pick(1, 2); i > 0; i--) {
        energies.push_back(numbers<float>(size_t(n) * labels, [&] { return uniform(-size, size); }));
        if (!pick(0, 30)) energies.back()[pick(0, n * labels - 1)] = pick(0, 1) ? NAN : INFINITY;
        results.emplace_back(size_t(n) * labels);
    }
    for (auto &e : energies) in.push_back(e.data());
    for (auto &r : results) out.push_back(r.data());
    std::vector<crf::Term> terms;
    for (int t = pick(1, 3); t > 0; t--) {
        const int kind = pick(0, 2);
        compats.push_back(numbers<float>(kind == 0 ? 1 : kind == 1 ? labels : labels * labels, [&] { return uniform(-20, 20); }));
        terms.push_back({sigma(), pick(0, 1) ? sigma() : 0, kind, nullptr});
    }
    for (size_t t = 0; t < terms.size(); t++) terms[t].compat = compats[t].data();
    crf::infer(image.data(), height, width, terms.data(), int(terms.size()), labels, pick(0, 4), in.data(), out.data(),
               int(in.size()), pick(0, 9) ? 0 : pick(1, 1 << 22));
    for (const auto &result : results) {
        for (int p = 0; p < n; p++) {
            double sum = 0;
            for (int k = 0; k < labels; k++) sum += result[size_t(k) * n + p];
            if (!(std::abs(sum - 1) < 1e-3)) std::printf("probabilities sum to %g\n", sum), std::abort();
        }
    }
}

void plain_filter() {
    const int height = pick(1, 30), width = pick(1, 30), channels = pick(1, 30), n = height * width;
    const auto image = numbers<float>(size_t(n) * 3, [&] { return uniform(0, 255); });
    const auto x = numbers<double>(size_t(n) * channels, [&] { return uniform(-1, 1); });
    const auto y = numbers<double>(size_t(n) * channels, [&] { return uniform(-1, 1); });
    crf::Lattice lattice;
    crf::Builder scratch;
    crf::build(lattice, scratch, {height, width, image.data(), nullptr, sigma(), sigma()}, *crf::best_kernels());
    std::vector<double> ax(x.size()), ay(x.size());
    crf::filter(lattice, height, width, channels, x.data(), ax.data(), false);
    crf::filter(lattice, height, width, channels, y.data(), ay.data(), true);
    const std::vector<float> single(x.begin(), x.end());
    std::vector<float> filtered(x.size());
    crf::filter(lattice, height, width, channels, single.data(), filtered.data(), false);
    double left = 0, right = 0, size = 1;
    for (size_t i = 0; i < x.size(); i++) {
        left += ax[i] * y[i];
        right += x[i] * ay[i];
        size += std::abs(ax[i] * y[i]);
        if (!(std::abs(filtered[i] - ax[i]) < 1e-3 * (1 + n))) std::printf("float %g double %g\n", filtered[i], ax[i]), std::abort();
    }
    if (!(std::abs(left - right) < 1e-9 * size)) std::printf("adjoint: %g and %g\n", left, right), std::abort();
}

} // namespace

int main(int, char **arguments) {
    const double seconds = std::atof(arguments[1]);
    random_bits.seed(unsigned(std::atoi(arguments[2])));
    const auto start = std::chrono::steady_clock::now();
    int done = 0, refused = 0;
    for (; std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds; done++) {
        try {
            if (pick(0, 3)) mean_field();
            else plain_filter();
        } catch (const crf::Error &) {
            refused++;
        }
    }
    std::printf("%s: %d cases, %d of them refused\n", crf::best_kernels()->name, done, refused);
}
