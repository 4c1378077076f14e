#pragma once

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "options.hpp"
#include "train.hpp"

namespace digits {

/// Test accuracy over steps as SVG: one panel a batch size, one curve a norm.
class Chart {
 public:
  Chart(const std::string& title, const Options& options) : steps_(options.steps), batches_(options.batches) {
    const double panels = kLeft + static_cast<double>(batches_.size()) * (kWidth + kGap);
    const double width = std::max(panels, kLeft + 4 * kLegend);
    const double height = kTop + kHeight + 60;
    svg_ << "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 " << width << ' ' << height << "' width='"
         << width << "' height='" << height << "' font-family='sans-serif' font-size='13' fill='#333'>\n"
         << "<rect width='100%' height='100%' fill='white'/>\n";
    text(kLeft, 28, title, "font-size='17' font-weight='bold'");
    double x = kLeft;
    for (const std::string& norm : options.norms) {
      line(x, 50, x + 28, 50, stroke(norm));
      std::ostringstream label;
      label << (norm == "none" ? "no" : norm) << " norm, rate " << options.rate_for(norm);
      text(x + 34, 54.5, label.str());
      x += kLegend;
    }
    for (std::size_t panel = 0; panel < batches_.size(); ++panel) draw_axes(panel);
  }

  void add(const Run& run) {
    for (std::size_t panel = 0; panel < batches_.size(); ++panel) {
      if (batches_[panel] != run.batch) continue;
      svg_ << "<polyline " << stroke(run.norm) << " fill='none' stroke-linejoin='round' points='";
      for (const CurvePoint& point : run.curve) {
        svg_ << x_of(panel, static_cast<double>(point.step)) << ',' << y_of(point.accuracy) << ' ';
      }
      svg_ << "'/>\n";
    }
  }

  void save(const std::string& path) const {
    std::ofstream file(path);
    file << svg_.str() << "</svg>\n";
    file.close();
    if (!file) fail(path, "cannot be written");
  }

 private:
  static constexpr double kLeft = 70, kTop = 105, kWidth = 400, kHeight = 300, kGap = 60, kLegend = 190;

  /// Colours of Okabe and Ito, which the colour-blind can tell apart.
  static std::string stroke(const std::string& norm) {
    static const std::map<std::string, std::string> colours = {
        {"none", "#777777"}, {"batch", "#0072b2"}, {"layer", "#d55e00"}, {"group", "#009e73"}};
    return "stroke='" + colours.at(norm) + "' stroke-width='2.2'";
  }

  double x_of(std::size_t panel, double step) const {
    return kLeft + static_cast<double>(panel) * (kWidth + kGap) + kWidth * step / static_cast<double>(steps_);
  }
  static double y_of(double accuracy) { return kTop + kHeight * (1 - accuracy / 100); }

  void text(double x, double y, const std::string& content, const std::string& attributes = "") {
    svg_ << "<text x='" << x << "' y='" << y << "' " << attributes << '>' << content << "</text>\n";
  }
  void line(double x1, double y1, double x2, double y2, const std::string& attributes) {
    svg_ << "<line x1='" << x1 << "' y1='" << y1 << "' x2='" << x2 << "' y2='" << y2 << "' " << attributes
         << "/>\n";
  }

  /// 1, 2 or 5 times a power of ten, about five a panel.
  Index tick_interval() const {
    Index interval = 1;
    for (int rung = 0; steps_ / interval > 6; ++rung)
      interval = rung % 3 == 1 ? interval / 2 * 5 : interval * 2;
    return interval;
  }

  void draw_axes(std::size_t panel) {
    const double left = x_of(panel, 0), right = left + kWidth, bottom = kTop + kHeight;
    const std::string grid = "stroke='#e0e0e0'", axis = "stroke='#333'";
    text(left + kWidth / 2, kTop - 15, "batch size " + std::to_string(batches_[panel]),
         "text-anchor='middle' font-size='15'");
    for (int percent = 0; percent <= 100; percent += 20) {
      line(left, y_of(percent), right, y_of(percent), grid);
      text(left - 8, y_of(percent) + 4.5, std::to_string(percent) + " %", "text-anchor='end'");
    }
    line(left, y_of(90), right, y_of(90), "stroke='#999' stroke-dasharray='4 4'");
    text(left - 8, y_of(90) + 4.5, "90 %", "text-anchor='end' fill='#777'");
    for (Index step = 0; step <= steps_; step += tick_interval()) {
      const double x = x_of(panel, static_cast<double>(step));
      line(x, bottom, x, bottom + 5, axis);
      text(x, bottom + 20, std::to_string(step), "text-anchor='middle'");
    }
    line(left, kTop, left, bottom, axis);
    line(left, bottom, right, bottom, axis);
    text(left + kWidth / 2, bottom + 42, "training steps", "text-anchor='middle'");
    if (panel == 0) {
      text(0, 0, "test accuracy",
           "text-anchor='middle' transform='translate(18 " + std::to_string(kTop + kHeight / 2) +
               ") rotate(-90)'");
    }
  }

  Index steps_;
  std::vector<Index> batches_;
  std::ostringstream svg_;
};

}  // namespace digits
