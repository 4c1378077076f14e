#include "chart.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <sstream>
#include <utility>

namespace evenkeel::benchmarks {
namespace {

constexpr double kLabels = 146, kWidth = 264, kGap = 18, kRight = 16, kTop = 150;
constexpr double kRow = 19, kHeading = 27;

/// Shapes of a norm in one layout, and their rows in all directions.
struct Group {
  std::string title;
  std::vector<std::string> shapes;
  std::vector<const Row*> rows;
};

std::vector<Group> groups_of(const std::vector<Row>& rows) {
  std::vector<Group> groups;
  for (const Norm norm : kNorms) {
    for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast, Layout::kRows}) {
      Group group;
      for (const Row& row : rows) {
        if (row.test.norm != norm || row.test.layout != layout) continue;
        const std::string shape = row.test.shape();
        const bool known = std::find(group.shapes.begin(), group.shapes.end(), shape) != group.shapes.end();
        if (!known) group.shapes.push_back(shape);
        group.title = text_of(norm) + (row.test.over_channels() ? "" : ", " + row.test.layout_text());
        group.rows.push_back(&row);
      }
      if (!group.rows.empty()) groups.push_back(std::move(group));
    }
  }
  return groups;
}

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) safe += c == '&' ? "&amp;" : c == '<' ? "&lt;" : std::string(1, c);
  return safe;
}

class Chart {
 public:
  Chart(const std::vector<Row>& rows, const Setting& setting) : groups_(groups_of(rows)) {
    double largest = 10;
    for (const Row& row : rows) {
      for (const Result& result : row.results) largest = std::max(largest, result.multiple);
    }
    largest_ = 1.15 * largest;
    height_ = kTop;
    for (const Group& group : groups_) height_ += kHeading + kRow * static_cast<double>(group.shapes.size());
    draw_head(setting);
    for (int panel = 0; panel < 3; ++panel) draw_axis(panel);
    draw_groups();
  }

  std::string text() const {
    std::ostringstream svg;
    const double width = left(2) + kWidth + kRight, height = height_ + 42;
    svg << "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 " << width << ' ' << height << "' width='"
        << width << "' height='" << height << "' font-family='sans-serif' font-size='12' fill='#333'>\n"
        << "<rect width='100%' height='100%' fill='white'/>\n"
        << svg_.str() << "</svg>\n";
    return svg.str();
  }

 private:
  static double left(int panel) { return kLabels + panel * (kWidth + kGap); }

  /// From a little left of 1, on a logarithmic scale.
  double x_of(int panel, double multiple) const {
    constexpr double kLeast = 0.85;
    const double share = std::log(std::max(multiple, kLeast) / kLeast) / std::log(largest_ / kLeast);
    return left(panel) + kWidth * share;
  }

  void label(double x, double y, const std::string& content, const std::string& attributes = "") {
    svg_ << "<text x='" << x << "' y='" << y << "' " << attributes << '>' << escaped(content) << "</text>\n";
  }
  void line(double x1, double y1, double x2, double y2, const std::string& attributes) {
    svg_ << "<line x1='" << x1 << "' y1='" << y1 << "' x2='" << x2 << "' y2='" << y2 << "' " << attributes
         << "/>\n";
  }

  /// Shapes differ, and the colours are those of Okabe and Ito, which the colour-blind can tell apart. Peers
  /// are outlines, which do not hide what is below.
  void mark(const std::string& library, double x, double y) {
    const auto polygon = [&](const char* points, const char* colour) {
      svg_ << "<polygon transform='translate(" << x << ' ' << y << ")' points='" << points
           << "' fill='none' stroke='" << colour << "' stroke-width='1.6'/>\n";
    };
    if (library == "Evenkeel") {
      svg_ << "<circle cx='" << x << "' cy='" << y << "' r='5.2' fill='#0072b2' stroke='white'/>\n";
    } else if (library == "oneDNN") {
      polygon("-3.6,-3.6 3.6,-3.6 3.6,3.6 -3.6,3.6", "#d55e00");
    } else if (library.rfind(kBlockedOneDnn, 0) == 0) {
      polygon("0,-5 5,0 0,5 -5,0", "#cc79a7");
    } else if (library == "PyTorch") {
      polygon("0,-4.6 4.6,3.6 -4.6,3.6", "#009e73");
    } else {
      svg_ << "<path transform='translate(" << x << ' ' << y
           << ")' d='M-3.4,-3.4 3.4,3.4 M-3.4,3.4 3.4,-3.4' stroke='#888' stroke-width='1.6'/>\n";
    }
  }

  void draw_head(const Setting& setting) {
    const std::string small = "font-size='11.5' fill='#666'";
    label(14, 26, "Evenkeel and its peers: time over the floor, float, one thread",
          "font-size='17' font-weight='bold'");
    label(14, 46,
          "1 = reading each input and writing the output once. Further left is faster; the axis is "
          "logarithmic.",
          "fill='#666'");
    label(14, 64, setting.machine.text() + "; " + setting.machine.compiler, small);
    label(14, 80, setting.versions(), small);
    double x = 20;
    for (const Library& library : setting.libraries) {
      mark(library.name, x, 103);
      label(x + 11, 107, library.name, library.name == "Evenkeel" ? "font-weight='bold'" : "");
      x += 42 + 6.6 * static_cast<double>(library.name.size());
    }
  }

  void draw_axis(int panel) {
    label(left(panel) + kWidth / 2, kTop - 12, text_of(kDirections[panel]),
          "text-anchor='middle' font-size='14' font-weight='bold'");
    for (double decade = 1; decade <= largest_; decade *= 10) {
      for (const double step : {1, 2, 5}) {
        const double tick = decade * step, x = x_of(panel, tick);
        if (tick > largest_) break;
        line(x, kTop, x, height_, tick == 1 ? "stroke='#333'" : "stroke='#e4e4e4'");
        label(x, height_ + 16, std::to_string(std::lround(tick)), "text-anchor='middle' fill='#666'");
      }
    }
    label(left(panel) + kWidth / 2, height_ + 33, "multiple of the floor",
          "text-anchor='middle' fill='#666'");
  }

  void draw_groups() {
    double y = kTop;
    for (const Group& group : groups_) {
      y += kHeading;
      label(14, y - 8, group.title, "font-weight='bold'");
      for (const std::string& shape : group.shapes) {
        label(kLabels - 10, y + kRow / 2 + 4, shape, "text-anchor='end'");
        for (const Row* row : group.rows) {
          if (row->test.shape() == shape) draw_row(*row, y + kRow / 2);
        }
        y += kRow;
      }
    }
  }

  void draw_row(const Row& row, double y) {
    const int panel =
        static_cast<int>(std::find(kDirections, std::end(kDirections), row.test.direction) - kDirections);
    line(left(panel), y, left(panel) + kWidth, y, "stroke='#eeeeee'");
    line(x_of(panel, 1), y, x_of(panel, row.evenkeel().multiple), y,
         "stroke='#0072b2' stroke-width='3.5' stroke-opacity='0.35'");
    for (const Result& result : row.results) mark(result.library, x_of(panel, result.multiple), y);
  }

  std::vector<Group> groups_;
  double largest_, height_;
  std::ostringstream svg_;
};

}  // namespace

std::string chart(const std::vector<Row>& rows, const Setting& setting) {
  return Chart(rows, setting).text();
}

}  // namespace evenkeel::benchmarks
