#pragma once

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "error.hpp"
#include "images.hpp"

namespace kit {

namespace fs = std::filesystem;

inline std::string read_file(const fs::path& path) {
  if (!fs::exists(path)) fail(path.string(), "no such file");
  if (!fs::is_regular_file(path)) fail(path.string(), "not a regular file");
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(path.string(), "cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A field that is an integer from 0 to limit.
inline Index parse_field(std::string_view field, Index limit, const std::string& where) {
  Index value = -1;
  const char* end = field.data() + field.size();
  const auto [stop, error] = std::from_chars(field.data(), end, value);
  if (error == std::errc() && stop == end && value >= 0 && value <= limit) return value;
  std::string found(field.substr(0, 12));
  std::replace_if(
      found.begin(), found.end(), [](unsigned char c) { return !std::isprint(c); }, '?');
  fail(where, "'" + found + "', expected an integer from 0 to " + std::to_string(limit));
}

/// UCI optdigits: a line is 64 pixels from 0 to 16 and the class, separated by commas.
inline Images read_optdigits(const fs::path& path, Index count) {
  constexpr Index kPixels = 64, kInk = 16;
  const std::string text = read_file(path);
  const Index lines = std::count(text.begin(), text.end(), '\n') + (!text.empty() && text.back() != '\n');
  if (lines != count)
    fail(path.string(), std::to_string(lines) + " lines, expected " + std::to_string(count));

  Images images(count, kPixels);
  std::string_view rest = text;
  for (Index image = 0; image < count; ++image) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);

    const std::string where = path.string() + ", line " + std::to_string(image + 1);
    const Index fields = std::count(line.begin(), line.end(), ',') + 1;
    if (fields != kPixels + 1) fail(where, std::to_string(fields) + " values, expected 65");
    for (Index i = 0; i < fields; ++i) {
      const std::string_view field = line.substr(0, line.find(','));
      line.remove_prefix(std::min(field.size() + 1, line.size()));
      const std::string what = where + ", value " + std::to_string(i + 1);
      if (i < kPixels) {
        images.pixels(image, i) = static_cast<float>(parse_field(field, kInk, what)) / kInk;
      } else {
        images.label(image) = parse_field(field, kClasses - 1, what);
      }
    }
  }
  return images;
}

/// The IDX format of MNIST: a magic number that ends in the rank, then the sizes, all of them 32 bits
/// big-endian, then one byte a value.
struct IdxFile {
  std::vector<std::uint64_t> sizes;
  std::string bytes;
  std::size_t header;

  Index value(Index i) const {
    return static_cast<unsigned char>(bytes[header + static_cast<std::size_t>(i)]);
  }
};

inline IdxFile read_idx(const fs::path& path, std::size_t rank) {
  IdxFile file{{}, read_file(path), 4 * (rank + 1)};
  const std::string& bytes = file.bytes;
  if (bytes.size() < file.header) {
    fail(path.string(),
         std::to_string(bytes.size()) + " bytes, expected a header of " + std::to_string(file.header));
  }
  const auto word = [&](std::size_t i) {
    std::uint64_t result = 0;
    for (std::size_t k = 4 * i; k < 4 * i + 4; ++k)
      result = result << 8 | static_cast<unsigned char>(bytes[k]);
    return result;
  };
  const std::uint64_t magic = 0x800 + rank;
  if (word(0) != magic) {
    fail(path.string(), "magic number " + std::to_string(word(0)) + ", expected " + std::to_string(magic));
  }
  std::uint64_t expected = 1;
  for (std::size_t i = 1; i <= rank; ++i) file.sizes.push_back(word(i));
  if (file.sizes[0] == 0) fail(path.string(), "0 images, expected at least 1");
  if (rank == 3 && (file.sizes[1] != 28 || file.sizes[2] != 28)) {
    fail(path.string(), "images of " + std::to_string(file.sizes[1]) + " x " + std::to_string(file.sizes[2]) +
                            " pixels, expected 28 x 28");
  }
  for (const std::uint64_t size : file.sizes) expected *= size;
  if (bytes.size() - file.header != expected) {
    fail(path.string(), std::to_string(bytes.size() - file.header) + " bytes behind the header, expected " +
                            std::to_string(expected));
  }
  return file;
}

/// MNIST is found with either spelling, train-images-idx3-ubyte or train-images.idx3-ubyte.
inline fs::path find_idx(const fs::path& directory, const std::string& stem, const std::string& suffix) {
  const fs::path dotted = directory / (stem + "." + suffix);
  return fs::exists(dotted) ? dotted : directory / (stem + "-" + suffix);
}

inline Images read_mnist(const fs::path& image_path, const fs::path& label_path) {
  const IdxFile pixels = read_idx(image_path, 3);
  const IdxFile labels = read_idx(label_path, 1);
  if (labels.sizes[0] != pixels.sizes[0]) {
    fail(label_path.string(), std::to_string(labels.sizes[0]) + " labels, expected " +
                                  std::to_string(pixels.sizes[0]) + ", one an image");
  }
  Images images(static_cast<Index>(pixels.sizes[0]), 28 * 28);
  for (Index i = 0; i < images.pixels.size(); ++i) {
    images.pixels.data()[i] = static_cast<float>(pixels.value(i)) / 255;
  }
  for (Index i = 0; i < images.count(); ++i) {
    images.label(i) = labels.value(i);
    if (labels.value(i) >= kClasses) {
      fail(label_path.string() + ", label " + std::to_string(i + 1),
           std::to_string(labels.value(i)) + ", expected 0 to 9");
    }
  }
  return images;
}

/// What --data names: optdigits, 8 x 8 pixels, or MNIST, 28 x 28.
inline Data load(const fs::path& directory) {
  if (!fs::is_directory(directory)) fail("--data", "'" + directory.string() + "', expected a directory");
  const fs::path train = directory / "optdigits.tra", test = directory / "optdigits.tes";
  if (fs::exists(train) || fs::exists(test)) {
    return {"optdigits", read_optdigits(train, 3823), read_optdigits(test, 1797)};
  }
  const fs::path train_images = find_idx(directory, "train-images", "idx3-ubyte");
  const fs::path train_labels = find_idx(directory, "train-labels", "idx1-ubyte");
  const fs::path test_images = find_idx(directory, "t10k-images", "idx3-ubyte");
  const fs::path test_labels = find_idx(directory, "t10k-labels", "idx1-ubyte");
  if (!fs::exists(train_images) && !fs::exists(train_labels) && !fs::exists(test_images) &&
      !fs::exists(test_labels)) {
    fail(directory.string(), "found neither optdigits.tra and .tes nor MNIST's four IDX files");
  }
  return {"MNIST", read_mnist(train_images, train_labels), read_mnist(test_images, test_labels)};
}

}  // namespace kit
