"""The one compiled part: the dense CRF engine. Without a C++ compiler the rest installs and runs without it."""

from setuptools import Extension, setup

SOURCES = [
    "api",
    "dispatch",
    "filter",
    "kernels_avx2",
    "kernels_avx512",
    "kernels_baseline",
    "lattice",
    "meanfield",
    "rows",
]
HEADERS = ["filter.hpp", "kernels.hpp", "kernels.inl", "lattice.hpp", "meanfield.hpp", "memory.hpp", "rows.hpp"]
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-Wno-psabi", "-Wno-ignored-attributes"]
FLAGS += ["-Wno-maybe-uninitialized"]  # GCC 12 about its own intrinsics

setup(
    ext_modules=[
        Extension(
            "pipeline.crf._native",
            sources=[f"pipeline/crf/native/{name}.cpp" for name in SOURCES],
            depends=[f"pipeline/crf/native/{name}" for name in HEADERS],
            extra_compile_args=FLAGS,
            language="c++",
            optional=True,
        )
    ]
)
