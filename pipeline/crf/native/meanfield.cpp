#include "meanfield.hpp"
#include "rows.hpp"
#include <algorithm>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace crf {
namespace {

constexpr size_t kKeptWorkspace = size_t(512) << 20; // larger ones are given back at once
constexpr size_t kKeptGaussians = size_t(32) << 20;

// Products of tiny probabilities are zero, not slow.
class FlushToZero {
  public:
#if defined(__x86_64__)
    FlushToZero() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
    ~FlushToZero() { _mm_setcsr(saved_); }

  private:
    unsigned saved_;
#endif
};

struct Workspace {
    Builder builder;
    Buffer<float> logits, read, write, column;
    std::vector<std::unique_ptr<Lattice>> lattices;
    size_t bytes() const {
        size_t sum = builder.bytes() + logits.bytes() + read.bytes() + write.bytes();
        for (const auto &lattice : lattices) sum += lattice->bytes();
        return sum;
    }
};

// One workspace per call in flight; the last ones are kept for the next image.
class Borrowed {
  public:
    Borrowed() {
        std::lock_guard<std::mutex> hold(lock());
        if (idle().empty()) {
            own_ = std::make_unique<Workspace>();
        } else {
            own_ = std::move(idle().back());
            idle().pop_back();
        }
    }
    ~Borrowed() {
        if (own_->bytes() > kKeptWorkspace) return;
        std::lock_guard<std::mutex> hold(lock());
        idle().push_back(std::move(own_));
    }
    Workspace *operator->() { return own_.get(); }
    Workspace &operator*() { return *own_; }

  private:
    static std::mutex &lock() {
        static std::mutex mutex;
        return mutex;
    }
    static std::vector<std::unique_ptr<Workspace>> &idle() {
        static std::vector<std::unique_ptr<Workspace>> list;
        return list;
    }
    std::unique_ptr<Workspace> own_;
};

// How many lattice points a term may have so that all of it stays within `limit` bytes; known before anything is built.
int64_t points_within(int64_t limit, int64_t n, const Term *terms, int term_count, int row) {
    if (limit <= 0) return kMostPoints;
    int64_t fixed = n * row * int64_t(sizeof(float));
    for (int t = 0; t < term_count; t++) fixed += n * (terms[t].srgb > 0 ? 6 : 3) * 8;
    if (fixed > limit) {
        throw Error("needs at least " + std::to_string(fixed >> 20) + " MiB, " + std::to_string(limit >> 20) +
                    " MiB are free: use fewer labels or a smaller image");
    }
    // Two rows of values, and hash slots, keys and chains of the construction.
    const int64_t per_point = 2 * row * int64_t(sizeof(float)) + 128;
    return std::min(kMostPoints, (limit - fixed) / per_point / term_count);
}

// The lattice of positions depends on the size alone; the most recent ones are kept.
std::shared_ptr<const Lattice> gaussian(Builder &scratch, const Features &f, const Kernels &kernels, int64_t most) {
    struct Entry {
        int64_t height, width;
        double sxy;
        std::shared_ptr<const Lattice> lattice;
    };
    static std::mutex lock;
    static std::list<Entry> cache;
    {
        std::lock_guard<std::mutex> hold(lock);
        for (auto at = cache.begin(); at != cache.end(); ++at) {
            if (at->height != f.height || at->width != f.width || at->sxy != f.sxy) continue;
            cache.splice(cache.begin(), cache, at);
            return cache.front().lattice;
        }
    }
    auto fresh = std::make_shared<Lattice>();
    build(*fresh, scratch, f, kernels, most);
    normalise(*fresh, scratch);
    std::lock_guard<std::mutex> hold(lock);
    cache.push_front({f.height, f.width, f.sxy, fresh});
    size_t bytes = 0;
    for (auto at = cache.begin(); at != cache.end();) {
        bytes += at->lattice->bytes();
        at = bytes > kKeptGaussians ? cache.erase(at) : std::next(at);
    }
    return fresh;
}

// Compatibility is linear over labels, so it is applied to the few lattice rows instead of the many pixels.
void mix_labels(const Term &term, float *values, int64_t m, int labels, int row, Buffer<float> &scratch) {
    if (term.compat_kind == 1) {
        for (int64_t i = 0; i < m; i++) {
            for (int k = 0; k < labels; k++) values[i * row + k] *= term.compat[k];
        }
        return;
    }
    float *sum = scratch.need(labels);
    for (int64_t i = 0; i < m; i++) {
        float *v = values + i * row;
        for (int k = 0; k < labels; k++) {
            sum[k] = 0;
            for (int j = 0; j < labels; j++) {
                sum[k] += .5f * (term.compat[k * labels + j] + term.compat[j * labels + k]) * v[j];
            }
        }
        std::copy(sum, sum + labels, v);
    }
}

class MeanField {
  public:
    MeanField(Workspace &w, const Kernels &kernels, const Term *terms, std::vector<const Lattice *> lattices, int labels)
        : w_(w), kernels_(kernels), shape_(kernels.shape(labels)), terms_(terms), lattices_(std::move(lattices)),
          labels_(labels), views_(lattices_.size()) {
        for (const Lattice *lattice : lattices_) points_ += lattice->m;
    }
    void run(const float *energy, int64_t height, int64_t width, int iterations, float *out) {
        const int64_t n = height * width;
        float *logits = w_.logits.need(n * shape_.width());
        if (!energies_to_rows(energy, height, width, labels_, shape_.width(), logits)) {
            throw Error("an energy is not finite");
        }
        view();
        const int count = int(views_.size());
        for (int i = 0; i < iterations; i++) {
            std::memset(views_.front().write, 0, sizeof(float) * shape_.width() * points_);
            kernels_.step(shape_, logits, n, views_.data(), count, i > 0);
            for (TermView &v : views_) std::swap(v.read, v.write);
            blur();
        }
        kernels_.finish(shape_, logits, n, views_.data(), iterations ? count : 0);
        rows_to_planes(logits, height, width, labels_, shape_.width(), out);
    }

  private:
    void view() {
        float *read = w_.read.need(points_ * shape_.width()), *write = w_.write.need(points_ * shape_.width());
        for (size_t t = 0; t < lattices_.size(); t++) {
            const Lattice &l = *lattices_[t];
            const float scale = kLog2e * (terms_[t].compat_kind ? -l.alpha() : l.alpha() * terms_[t].compat[0]);
            views_[t] = {l.rows.data(), l.weights.data(), l.d + 1, scale, read, write};
            read += l.m * shape_.width();
            write += l.m * shape_.width();
        }
    }
    void blur() {
        for (size_t t = 0; t < lattices_.size(); t++) {
            float *values = views_[t].read;
            for (int j = 0; j <= lattices_[t]->d; j++) {
                const ChainView chains = lattices_[t]->chains(j);
                kernels_.blur(shape_, values, &chains);
            }
            if (terms_[t].compat_kind) {
                mix_labels(terms_[t], values, lattices_[t]->m, labels_, shape_.width(), w_.column);
            }
        }
    }

    Workspace &w_;
    const Kernels &kernels_;
    Shape shape_;
    const Term *terms_;
    std::vector<const Lattice *> lattices_;
    int labels_;
    int64_t points_ = 0;
    std::vector<TermView> views_;
};

} // namespace

void infer(const uint8_t *image, int64_t height, int64_t width, const Term *terms, int term_count, int labels,
           int iterations, const float *const *energies, float *const *probabilities, int count, int64_t limit) {
    const FlushToZero mode;
    const Kernels &kernels = *best_kernels();
    Borrowed w;
    std::vector<const Lattice *> lattices;
    std::vector<std::shared_ptr<const Lattice>> held;
    const int64_t most = points_within(limit, height * width, terms, term_count, kernels.shape(labels).width());
    size_t own = 0;
    for (int t = 0; t < term_count; t++) {
        const Features f{height, width, nullptr, terms[t].srgb > 0 ? image : nullptr, terms[t].sxy,
                         terms[t].srgb > 0 ? terms[t].srgb : 1};
        if (terms[t].srgb > 0) {
            if (w->lattices.size() <= own) w->lattices.push_back(std::make_unique<Lattice>());
            Lattice &lattice = *w->lattices[own++];
            build(lattice, w->builder, f, kernels, most);
            normalise(lattice, w->builder);
            lattices.push_back(&lattice);
        } else {
            held.push_back(gaussian(w->builder, f, kernels, most));
            lattices.push_back(held.back().get());
        }
    }
    MeanField field(*w, kernels, terms, std::move(lattices), labels);
    for (int i = 0; i < count; i++) field.run(energies[i], height, width, iterations, probabilities[i]);
}

} // namespace crf
