// What Python calls through ctypes, which lets go of the interpreter lock meanwhile. No exception leaves this file.
#include "meanfield.hpp"
#include <cstdio>

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
