#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "axis.hpp"
#include "error.hpp"
#include "spread.hpp"

namespace kit {

/// Over one or several seeds: y[seed][i] is the value at x[i].
struct Curve {
  std::size_t style;  // of the legend, and of its colour, dash and marker: below 8
  std::vector<double> x;
  std::vector<std::vector<double>> y;
  bool joined = true;  // false: a bar from lowest to highest at each x, for things that have no order
};

struct Panel {
  std::string title;
  Axis x, y;
  std::vector<Curve> curves;
  std::optional<double> goal = std::nullopt;  // a dashed line across
};

/// Panels side by side as SVG, below one legend. A curve is the median over its seeds, on a band from the lowest to
/// the highest of them.
class Chart {
 public:
  explicit Chart(std::string title) : title_(std::move(title)) {}

  void add_legend(std::size_t style, const std::string& label) { legend_.emplace_back(style, label); }
  void add(const Panel& panel) { panels_.push_back(panel); }

  void save(const std::string& path) const {
    std::ofstream file(path);
    file << drawn();
    file.close();
    if (!file) fail(path, "cannot be written");
  }

 private:
  static constexpr double kMargin = 20, kTop = 105, kWidth = 400, kHeight = 300, kLegendWidth = 190,
                          kLegendRow = 22;
  static constexpr double kAxisLabel = 26, kNumbers = 54;  // to the left of a panel
  static constexpr std::size_t kStyles = 8;

  struct Style {
    const char *colour, *dash, *marker;
  };

  /// Colours of Okabe and Ito, which the colour-blind can tell apart; dashes and markers do it in grey.
  static const Style& style(std::size_t i) {
    static const std::array<Style, kStyles> styles = {{
        {"#777777", "2 4", "M-4,-4L4,4M-4,4L4,-4"},
        {"#0072b2", "none", "M-4,0A4,4 0 1 0 4,0A4,4 0 1 0 -4,0Z"},
        {"#d55e00", "9 4", "M-4,-4H4V4H-4Z"},
        {"#009e73", "9 3 2 3", "M0,-5L5,4H-5Z"},
        {"#cc79a7", "5 3", "M0,-6L5,0L0,6L-5,0Z"},
        {"#e69f00", "14 4", "M0,5L5,-4H-5Z"},
        {"#56b4e9", "4 2 1 2", "M-5,0H5M0,-5V5"},
        {"#000000", "12 3 2 3 2 3", "M-5,-3L0,4L5,-3"},
    }};
    return styles.at(i);
  }

  static std::string stroke(std::size_t i) {
    return std::string("stroke='") + style(i).colour + "' stroke-width='2.2' stroke-dasharray='" +
           style(i).dash + "' fill='none' stroke-linejoin='round'";
  }

  static std::string escaped(const std::string& text) {
    std::string result;
    for (char c : text) {
      if (c == '&') {
        result += "&amp;";
      } else if (c == '<') {
        result += "&lt;";
      } else {
        result += c;
      }
    }
    return result;
  }

  static void text(std::ostream& svg, double x, double y, const std::string& content,
                   const std::string& attributes = "") {
    svg << "<text x='" << x << "' y='" << y << "' " << attributes << '>' << escaped(content) << "</text>\n";
  }
  static void line(std::ostream& svg, double x1, double y1, double x2, double y2,
                   const std::string& attributes) {
    svg << "<line x1='" << x1 << "' y1='" << y1 << "' x2='" << x2 << "' y2='" << y2 << "' " << attributes
        << "/>\n";
  }
  static void marker(std::ostream& svg, double x, double y, std::size_t i) {
    svg << "<path transform='translate(" << x << ' ' << y << ")' d='" << style(i).marker << "' stroke='"
        << style(i).colour << "' stroke-width='1.8' fill='white'/>\n";
  }

  static std::string number(double value, const std::string& unit) {
    std::ostringstream text;
    text.precision(10);
    text << value << unit;
    return text.str();
  }

  std::string drawn() const {
    std::ostringstream body;
    double x = kMargin;
    std::string label;
    for (const Panel& panel : panels_) {
      const bool has_label = panel.y.label != label;
      label = panel.y.label;
      x += kNumbers + (has_label ? kAxisLabel : 0);
      draw_panel(body, panel, x, has_label);
      x += kWidth + kMargin;
    }
    const double left = kMargin + kAxisLabel + kNumbers;
    constexpr double kTitleLetter = 9.5;
    const double width =
        std::max({x, left + kLegendWidth * static_cast<double>(std::min<std::size_t>(legend_.size(), 4)),
                  left + kTitleLetter * static_cast<double>(title_.size())});
    const auto keys_a_row = static_cast<std::size_t>((width - left) / kLegendWidth);
    const std::size_t more_rows = legend_.empty() ? 0 : (legend_.size() - 1) / keys_a_row;
    const double legend_height = kLegendRow * static_cast<double>(more_rows);
    const double height = kTop + kHeight + 60 + legend_height;

    std::ostringstream svg;
    svg << "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 " << width << ' ' << height << "' width='"
        << width << "' height='" << height << "' font-family='sans-serif' font-size='13' fill='#333'>\n"
        << "<rect width='100%' height='100%' fill='white'/>\n";
    text(svg, left, 28, title_, "font-size='17' font-weight='bold'");
    for (std::size_t i = 0; i < legend_.size(); ++i) {
      const auto& [style, name] = legend_[i];
      const double key = left + kLegendWidth * static_cast<double>(i % keys_a_row);
      const double y = 51 + kLegendRow * static_cast<double>(i / keys_a_row);
      line(svg, key, y, key + 36, y, stroke(style));
      marker(svg, key + 18, y, style);
      text(svg, key + 42, y + 4.5, name);
    }
    svg << "<g transform='translate(0 " << legend_height << ")'>\n" << body.str() << "</g>\n</svg>\n";
    return svg.str();
  }

  static void draw_panel(std::ostream& svg, const Panel& panel, double left, bool has_label) {
    const double bottom = kTop + kHeight, right = left + kWidth;
    const auto x_of = [&](double value) { return left + kWidth * place_on(panel.x, value); };
    const auto y_of = [&](double value) { return bottom - kHeight * place_on(panel.y, value); };
    const std::string grid = "stroke='#e0e0e0'", axis = "stroke='#333'";

    text(svg, left + kWidth / 2, kTop - 15, panel.title, "text-anchor='middle' font-size='15'");
    for (double value : ticks_of(panel.y)) {
      line(svg, left, y_of(value), right, y_of(value), grid);
      const bool is_free = !panel.goal || std::fabs(y_of(value) - y_of(*panel.goal)) > 14;
      if (is_free) text(svg, left - 8, y_of(value) + 4.5, number(value, panel.y.unit), "text-anchor='end'");
    }
    if (panel.goal) {
      line(svg, left, y_of(*panel.goal), right, y_of(*panel.goal), "stroke='#999' stroke-dasharray='4 4'");
      text(svg, left - 8, y_of(*panel.goal) + 4.5, number(*panel.goal, panel.y.unit),
           "text-anchor='end' fill='#666'");
    }
    const std::vector<double> ticks = ticks_of(panel.x);
    for (std::size_t i = 0; i < ticks.size(); ++i) {
      const double x = x_of(ticks[i]);
      line(svg, x, bottom, x, bottom + 5, axis);
      text(svg, x, bottom + 20, panel.x.names.empty() ? number(ticks[i], panel.x.unit) : panel.x.names.at(i),
           "text-anchor='middle'");
    }
    line(svg, left, kTop, left, bottom, axis);
    line(svg, left, bottom, right, bottom, axis);
    text(svg, left + kWidth / 2, bottom + 42, panel.x.label, "text-anchor='middle'");
    if (has_label) {
      std::ostringstream turned;
      turned << "text-anchor='middle' transform='translate(" << left - kNumbers - 12 << ' '
             << kTop + kHeight / 2 << ") rotate(-90)'";
      text(svg, 0, 0, panel.y.label, turned.str());
    }
    for (const Curve& curve : panel.curves) draw_curve(svg, curve, x_of, y_of);
  }

  /// Places where a seed's value is not finite are left out.
  template <typename XOf, typename YOf>
  static void draw_curve(std::ostream& svg, const Curve& curve, XOf x_of, YOf y_of) {
    std::vector<std::pair<double, Spread>> points;
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      std::vector<double> values;
      for (const std::vector<double>& seed : curve.y) values.push_back(seed.at(i));
      const Spread spread = spread_of(values);
      const bool finite =
          std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
      if (finite) points.emplace_back(x_of(curve.x[i]), spread);
    }
    if (!curve.joined) {
      for (const auto& [x, spread] : points) {
        line(svg, x, y_of(spread.lowest), x, y_of(spread.highest),
             std::string("stroke-width='5' stroke-opacity='0.4' stroke='") + style(curve.style).colour + "'");
        marker(svg, x, y_of(spread.median), curve.style);
      }
      return;
    }
    if (curve.y.size() > 1) {
      svg << "<polygon fill='" << style(curve.style).colour << "' fill-opacity='0.18' points='";
      for (const auto& [x, spread] : points) svg << x << ',' << y_of(spread.highest) << ' ';
      for (std::size_t i = points.size(); i-- > 0;) {
        svg << points[i].first << ',' << y_of(points[i].second.lowest) << ' ';
      }
      svg << "'/>\n";
    }
    svg << "<polyline " << stroke(curve.style) << " points='";
    for (const auto& [x, spread] : points) svg << x << ',' << y_of(spread.median) << ' ';
    svg << "'/>\n";

    // About six markers, of each style at places of its own.
    const std::size_t apart = std::max<std::size_t>(points.size() / 6, 1);
    for (std::size_t i = (curve.style * 2) % apart; i < points.size(); i += apart) {
      marker(svg, points[i].first, y_of(points[i].second.median), curve.style);
    }
  }

  std::string title_;
  std::vector<std::pair<std::size_t, std::string>> legend_;
  std::vector<Panel> panels_;
};

}  // namespace kit
