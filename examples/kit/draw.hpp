#pragma once

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "images.hpp"
#include "random.hpp"

namespace kit {

using Point = Eigen::Vector2d;
using Stroke = std::vector<Point>;

/// The digits as polylines in the unit square, y downward.
inline const std::array<std::vector<Stroke>, kClasses>& glyphs() {
  // clang-format off
  static const std::array<std::vector<Stroke>, kClasses> strokes = {{
      {{{.5, 0}, {.25, .1}, {.13, .35}, {.13, .65}, {.25, .9}, {.5, 1},
        {.75, .9}, {.87, .65}, {.87, .35}, {.75, .1}, {.5, 0}}},
      {{{.3, .2}, {.55, 0}, {.55, 1}}},
      {{{.15, .25}, {.28, .06}, {.5, 0}, {.72, .06}, {.83, .25}, {.75, .45}, {.5, .68}, {.12, 1}, {.88, 1}}},
      {{{.17, .1}, {.45, 0}, {.72, .07}, {.8, .25}, {.7, .42}, {.42, .48}},
       {{.42, .48}, {.75, .55}, {.86, .75}, {.74, .93}, {.45, 1}, {.14, .9}}},
      {{{.62, 0}, {.1, .68}, {.92, .68}}, {{.68, .35}, {.68, 1}}},
      {{{.82, 0}, {.25, 0}, {.2, .43}, {.5, .36}, {.78, .47}, {.85, .7}, {.72, .92}, {.45, 1}, {.15, .9}}},
      {{{.72, 0}, {.4, .18}, {.2, .5}, {.17, .75}, {.3, .95}, {.55, 1},
        {.78, .9}, {.83, .7}, {.7, .52}, {.45, .49}, {.2, .65}}},
      {{{.12, 0}, {.88, 0}, {.6, .45}, {.42, 1}}},
      {{{.5, .46}, {.25, .36}, {.2, .17}, {.35, .02}, {.65, .02}, {.8, .17}, {.75, .36}, {.5, .46}},
       {{.5, .46}, {.22, .58}, {.14, .8}, {.3, .97}, {.7, .97}, {.86, .8}, {.78, .58}, {.5, .46}}},
      {{{.82, .35}, {.6, .5}, {.32, .48}, {.17, .3}, {.25, .1}, {.5, 0},
        {.73, .07}, {.83, .3}, {.8, .6}, {.55, 1}}},
  }};
  // clang-format on
  return strokes;
}

inline double distance_to_segment(const Point& p, const Point& a, const Point& b) {
  const Point along = b - a;
  const double length2 = std::max(along.squaredNorm(), 1e-12);
  return (p - a - std::clamp((p - a).dot(along) / length2, 0.0, 1.0) * along).norm();
}

/// One digit on 28 x 28 pixels: jittered corners, a random affine map, a pen of random width with a soft edge
/// (the blur), and noise.
template <typename Row>
void draw_digit(Index digit, Random& random, Row&& pixels) {
  constexpr Index kSide = 28;
  const double angle = random.uniform(-.3, .3), shear = random.uniform(-.3, .3);
  const double width = random.uniform(12, 18), height = random.uniform(16, 21);
  Eigen::Matrix2d map;
  map << width, shear * height, 0, height;
  map = Eigen::Rotation2Dd(angle) * map;
  const double centre_x = kSide / 2 + random.uniform(-1.5, 1.5),
               centre_y = kSide / 2 + random.uniform(-1.5, 1.5);
  const double pen = random.uniform(.8, 1.9), blur = random.uniform(.7, 2);

  std::vector<Stroke> strokes = glyphs()[static_cast<std::size_t>(digit)];
  for (Stroke& stroke : strokes) {
    for (Point& p : stroke) {
      const double jitter_x = .04 * random.normal(), jitter_y = .04 * random.normal();
      p = Point(centre_x, centre_y) + map * (p + Point(jitter_x - .5, jitter_y - .5));
    }
  }
  for (Index i = 0; i < kSide * kSide; ++i) {
    const Point p(static_cast<double>(i % kSide) + .5, static_cast<double>(i / kSide) + .5);
    double distance = std::numeric_limits<double>::max();
    for (const Stroke& stroke : strokes) {
      for (std::size_t k = 1; k < stroke.size(); ++k) {
        distance = std::min(distance, distance_to_segment(p, stroke[k - 1], stroke[k]));
      }
    }
    const double ink = 1 / (1 + std::exp((distance - pen) * 4 / blur));
    pixels(i) = static_cast<float>(std::clamp(ink + .1 * random.normal(), 0.0, 1.0));
  }
}

inline Images draw_images(Index count, Random& random) {
  Images images(count, 28 * 28);
  for (Index i = 0; i < count; ++i) {
    images.label(i) = i % kClasses;
    draw_digit(images.label(i), random, images.pixels.row(i));
  }
  return images;
}

/// The built-in data: always the same digits, whatever the seed of the training.
inline Data draw_data() {
  Random random(1);
  Data data{"drawn digits", {}, {}};
  data.train = draw_images(6000, random);
  data.test = draw_images(1000, random);
  return data;
}

}  // namespace kit
