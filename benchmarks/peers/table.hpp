#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace evenkeel::benchmarks {

/// A table in Markdown that can be read as it is: the first column to the left, the others to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> head) { add(std::move(head)); }

  void add(std::vector<std::string> row) {
    widths_.resize(row.size(), 2);
    for (std::size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], row[i].size());
    rows_.push_back(std::move(row));
  }

  std::string text() const {
    std::string text = line(rows_.front());
    for (std::size_t i = 0; i < widths_.size(); ++i) {
      const std::string rule(widths_[i] + 1, '-');
      text += i == 0 ? "|" + rule + "-" : "|" + rule + ":";
    }
    text += "|\n";
    for (std::size_t r = 1; r < rows_.size(); ++r) text += line(rows_[r]);
    return text;
  }

 private:
  std::string line(const std::vector<std::string>& row) const {
    std::string text;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths_[i] - row[i].size(), ' ');
      text += "| " + (i == 0 ? row[i] + space : space + row[i]) + " ";
    }
    return text + "|\n";
  }

  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> widths_;
};

}  // namespace evenkeel::benchmarks
