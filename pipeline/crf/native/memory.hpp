// Buffers that are reused from image to image: fresh pages cost more than the arithmetic on them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace crf {

// Uninitialised memory on cache lines; grows, never shrinks.
template <class T> class Buffer {
  public:
    Buffer() = default;
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    Buffer(Buffer &&other) noexcept : data_(other.data_), capacity_(other.capacity_) {
        other.data_ = nullptr;
        other.capacity_ = 0;
    }
    ~Buffer() { std::free(data_); }

    // At least `count` elements; what was there is lost.
    T *need(size_t count) {
        if (count > capacity_) {
            std::free(data_);
            data_ = nullptr;
            data_ = allocate(count);
            capacity_ = count;
        }
        return data_;
    }
    // At least `count` elements; the first `kept` survive.
    T *grow(size_t count, size_t kept) {
        if (count > capacity_) {
            T *fresh = allocate(count);
            if (kept) std::memcpy(fresh, data_, kept * sizeof(T));
            std::free(data_);
            data_ = fresh;
            capacity_ = count;
        }
        return data_;
    }
    T *data() { return data_; }
    const T *data() const { return data_; }
    size_t bytes() const { return capacity_ * sizeof(T); }

  private:
    static T *allocate(size_t count) {
        constexpr size_t line = 64, page = size_t(2) << 20;
        if (count > (SIZE_MAX / 2) / sizeof(T)) throw std::bad_alloc();
        size_t bytes = count * sizeof(T);
        const size_t align = bytes >= page ? page : line;
        bytes = (bytes + line - 1) / line * line;
        void *data = nullptr;
        if (posix_memalign(&data, align, bytes)) throw std::bad_alloc();
#if defined(__linux__)
        if (align == page) madvise(data, bytes, MADV_HUGEPAGE);
#endif
        return static_cast<T *>(data);
    }
    T *data_ = nullptr;
    size_t capacity_ = 0;
};

} // namespace crf
