vcpkg_from_github(
    OUT_SOURCE_PATH SOURCE_PATH
    REPO evenkeel/evenkeel
    REF "v${VERSION}"
    SHA512 0
    HEAD_REF main
)

set(VCPKG_BUILD_TYPE release) # header-only

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS
        -DEVENKEEL_BUILD_BENCHMARKS=OFF
        -DEVENKEEL_BUILD_EXAMPLES=OFF
        -DEVENKEEL_BUILD_TESTS=OFF
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/evenkeel)
vcpkg_fixup_pkgconfig()
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
