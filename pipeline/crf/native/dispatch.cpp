#include "kernels.hpp"
#include <cstdlib>
#include <cstring>

namespace crf {
namespace {

const Kernels *choose() {
    const char *most = std::getenv("PSEUDOMASK_ISA"); // "baseline" or "avx2", for tests and for comparing
    const bool baseline = most && !std::strcmp(most, "baseline");
    const bool avx2 = most && !std::strcmp(most, "avx2");
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!baseline && !avx2 && kernels_avx512() && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
        return kernels_avx512();
    }
    if (!baseline && kernels_avx2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return kernels_avx2();
    }
#else
    (void)baseline, (void)avx2;
#endif
    return kernels_baseline();
}

} // namespace

const Kernels *best_kernels() {
    static const Kernels *const best = choose();
    return best;
}

} // namespace crf
