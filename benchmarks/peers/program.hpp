#pragma once

#include <filesystem>
#include <string>

namespace evenkeel::benchmarks {

/// For libraries that ask OpenMP: it reads the environment before main begins.
void restart_with_one_thread(char** argv);

/// Makes the directory too.
void write_file(const std::filesystem::path& path, const std::string& text);

}  // namespace evenkeel::benchmarks
