// What Python calls through ctypes, which lets go of the interpreter lock meanwhile. No exception leaves this file.
#include "filter.hpp"
#include "meanfield.hpp"
#include <cstdio>
#include <memory>

namespace {

template <class Use> int guarded(char *message, int size, Use use) {
    try {
        use();
        return 0;
    } catch (const crf::Error &error) {
        std::snprintf(message, size_t(size), "%s", error.what());
    } catch (const std::bad_alloc &) {
        std::snprintf(message, size_t(size), "not enough memory");
    } catch (const std::exception &error) {
        std::snprintf(message, size_t(size), "internal error: %s", error.what());
    }
    return 1;
}

struct Handle {
    crf::Lattice lattice;
    int64_t height, width;
};

} // namespace

#define CRF_API extern "C" __attribute__((visibility("default")))

CRF_API const char *crf_isa() { return crf::best_kernels()->name; }

CRF_API int crf_infer(const uint8_t *image, int64_t height, int64_t width, const crf::Term *terms, int term_count,
                      int labels, int iterations, const float *const *energies, float *const *probabilities, int count,
                      int64_t limit, char *message, int size) {
    return guarded(message, size, [&] {
        crf::infer(image, height, width, terms, term_count, labels, iterations, energies, probabilities, count, limit);
    });
}

// A lattice over image[height][width][3], values 0..255, to filter with; freed by crf_lattice_free.
CRF_API int crf_lattice(const float *image, int64_t height, int64_t width, double sxy, double srgb, void **out,
                        char *message, int size) {
    return guarded(message, size, [&] {
        auto handle = std::make_unique<Handle>();
        handle->height = height;
        handle->width = width;
        static thread_local crf::Builder scratch;
        crf::build(handle->lattice, scratch, {height, width, image, nullptr, sxy, srgb}, *crf::best_kernels());
        *out = handle.release();
    });
}

CRF_API void crf_lattice_free(void *handle) { delete static_cast<Handle *>(handle); }

CRF_API int crf_filter(const void *handle, int channels, const void *in, void *out, int adjoint, int doubles,
                       char *message, int size) {
    return guarded(message, size, [&] {
        const Handle &h = *static_cast<const Handle *>(handle);
        if (doubles) {
            crf::filter(h.lattice, h.height, h.width, channels, static_cast<const double *>(in),
                        static_cast<double *>(out), adjoint != 0);
        } else {
            crf::filter(h.lattice, h.height, h.width, channels, static_cast<const float *>(in),
                        static_cast<float *>(out), adjoint != 0);
        }
    });
}
