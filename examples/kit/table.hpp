#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace kit {

/// What printf makes of one number.
inline std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// With spaces behind it, up to a width.
inline std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

/// "a", "a and b", or "a, b and c", with the word given.
inline std::string listed(const std::vector<std::string>& items, const std::string& word = "and") {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == items.size() ? " " + word + " " : ", ") + items[i];
  }
  return text;
}

/// Columns of text with two spaces between them: words stand to the left, numbers to the right.
class Table {
 public:
  /// words: those of the names in the header whose columns are words.
  Table(std::vector<std::string> header, const std::vector<std::string>& words) : rows_{std::move(header)} {
    for (const std::string& name : rows_[0]) {
      is_word_.push_back(std::find(words.begin(), words.end(), name) != words.end());
    }
  }

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  void print() const {
    for (const std::vector<std::string>& row : rows_) {
      std::string line;
      for (std::size_t column = 0; column < row.size(); ++column) {
        const std::string padding(width(column) - row[column].size(), ' ');
        line += column == 0 ? "" : "  ";
        line += is_word_[column] ? row[column] + padding : padding + row[column];
      }
      std::printf("%s\n", line.substr(0, line.find_last_not_of(' ') + 1).c_str());
    }
  }

  std::string markdown() const {
    std::string text;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      text += "|";
      for (const std::string& cell : rows_[i]) text += " " + cell + " |";
      text += "\n";
      if (i > 0) continue;
      for (bool is_word : is_word_) text += is_word ? "|---" : "|--:";
      text += "|\n";
    }
    return text;
  }

 private:
  std::size_t width(std::size_t column) const {
    std::size_t widest = 0;
    for (const std::vector<std::string>& row : rows_) widest = std::max(widest, row[column].size());
    return widest;
  }

  std::vector<std::vector<std::string>> rows_;
  std::vector<bool> is_word_;
};

}  // namespace kit
