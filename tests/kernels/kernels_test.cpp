// Every kernel of every instruction set, alone, against plain loops in long double; and nothing is read or written
// beside its arrays.
//
// Bounds count roundings: a term that goes through k operations of the compute type is off by k units at most, u =
// 2^-24 or 2^-53 of its size, so that a sum is off by k u sum|terms|.
#include "kernel_call.hpp"

#include <algorithm>

namespace ek_test {
namespace {

namespace detail = evenkeel::detail;
using evenkeel::ComputeOf;
using evenkeel::StatisticOf;

/// How many terms a sum of the compute type has before it joins one of the statistic type: kShortSum vectors of a line,
/// kShortRows of a column; for double, whose statistic type is the same, as many as there are.
template <typename S>
Real terms_of_line(Index n) {
  return std::is_same_v<ComputeOf<S>, double> ? 8 + static_cast<Real>(n) : 8;
}
template <typename S>
Real terms_of_column(Index rows) {
  return std::is_same_v<ComputeOf<S>, double> ? static_cast<Real>(rows)
                                              : std::min<Real>(16, static_cast<Real>(rows));
}

/// Where the elements [begin, end) of lines are.
std::vector<Index> places_of(const detail::Lines& lines, Index begin, Index end) {
  std::vector<Index> places;
  Index i = 0;
  for (Index outer = 0; outer < lines.outer; ++outer)
    for (Index inner = 0; inner < lines.inner; ++inner)
      for (Index k = 0; k < lines.length; ++k, ++i)
        if (begin <= i && i < end)
          places.push_back(outer * lines.outer_stride + inner * lines.inner_stride + k);
  return places;
}
Index extent_of(const detail::Lines& lines) {
  return (lines.outer - 1) * lines.outer_stride + (lines.inner - 1) * lines.inner_stride + lines.length;
}

/// One line, or several with gaps, and the part of them that is worked on.
struct Part {
  detail::Lines lines;
  Index begin, end;
};
std::vector<Part> parts_of(Index n) {
  const detail::Lines one{1, 0, 1, 0, n}, six{2, 3 * (n + 3) + 5, 3, n + 3, n};
  std::vector<Part> parts = {{one, 0, n}, {one, n / 3, n - n / 4}};
  if (n <= 300) {
    parts.push_back({six, 0, 6 * n});
    parts.push_back({six, n / 2, 5 * n - n / 3});
    parts.push_back({six, 2 * n, 4 * n});
  }
  return parts;
}

/// Values of cells whose elements are at the given places; everything else is NaN. `size`: of a cell.
template <typename S>
std::vector<S> spread_out(const std::vector<Index>& places, Index size, Index cells, Index apart, double mean,
                          unsigned seed) {
  std::vector<S> all(at((cells - 1) * apart + size), static_cast<S>(std::numeric_limits<float>::quiet_NaN()));
  const std::vector<S> values = numbers<S>(static_cast<Index>(places.size()) * cells, mean, 1, seed);
  std::size_t i = 0;
  for (Index cell = 0; cell < cells; ++cell)
    for (Index place : places) all[at(cell * apart + place)] = values[i++];
  return all;
}
/// -1, 0 or 1 each.
template <typename S>
std::vector<S> signs(Index count, unsigned seed) {
  std::vector<S> values = numbers<S>(count, 0, 1, seed);
  for (S& value : values)
    value = static_cast<S>(value > S(0.5f) ? 1.0f : value < S(-1.5f) ? -1.0f : value < S(0) ? 0.0f : 1.0f);
  return values;
}

/// What a mask leaves out may be anything.
template <typename S>
std::vector<S> masked(std::vector<S> values, const std::vector<S>& mask) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!(mask[i] > S(0))) values[i] = static_cast<S>(std::numeric_limits<float>::quiet_NaN());
  return values;
}

struct Sums {
  Real first = 0, second = 0, first_size = 0, second_size = 0;

  void add(Real a, Real b) {
    first += a;
    second += b;
    first_size += std::fabs(a);
    second_size += std::fabs(b);
  }
};

/// What the kernels say an activation is.
template <typename C>
Real activated(Real v, const detail::Activation<C>& a) {
  if (a.curve == detail::Curve::none) return v;
  const Real leaky = v < 0 ? real(a.slope) * v : v;
  return std::fmin(std::fmax(leaky, real(a.low)), real(a.high));
}
/// Its slope there; 0 at the ends of a clip.
template <typename C>
Real slope_of(Real v, const detail::Activation<C>& a) {
  if (a.curve == detail::Curve::none) return 1;
  const Real slope = v > 0 ? 1 : real(a.slope), y = v * slope;
  return real(a.low) < y && y < real(a.high) ? slope : 0;
}
template <typename C>
bool is_active(const detail::Activation<C>& a) {
  return a.curve != detail::Curve::none;
}
template <typename C>
std::vector<detail::Activation<C>> activations() {
  const C infinity = std::numeric_limits<C>::infinity();
  return {{detail::Curve::none, C(0), C(0), C(0)},
          {detail::Curve::clip, C(0), -infinity, infinity},
          {detail::Curve::clip, C(0.1), -infinity, infinity},
          {detail::Curve::clip, C(1), C(-0.25), C(0.5)},
          {detail::Curve::clip, C(0.125), C(-0.25), C(1.5)}};
}

template <typename T>
const T* data_or_null(Call& call, bool wanted, const std::vector<T>& values) {
  return wanted ? call.in(values) : nullptr;
}

// Lines.

template <typename S>
void test_sum_lines() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "sum_lines", sizes_to(2100),
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        for (const Part& part : parts_of(n))
          for (const bool has_dy : {false, true})
            for (const bool has_mask : {false, true}) {
              const bool is_one = part.lines.outer == 1;  // as many cells as are summed together, and more
              const Index cells = is_one && n <= 40 ? n * 7 % 19 + 1 : n % 2 + 1,
                          size = extent_of(part.lines), apart = size + 2;
              const std::vector<Index> places = places_of(part.lines, part.begin, part.end);
              const std::vector<S> x = spread_out<S>(places, size, cells, apart, 3, 1),
                                   dy = spread_out<S>(places, size, cells, apart, 0.5, 2);
              std::vector<S> mask(x.size(), static_cast<S>(std::numeric_limits<float>::quiet_NaN()));
              const std::vector<S> some = signs<S>(static_cast<Index>(x.size()), 3);
              for (std::size_t i = 0; i < x.size(); ++i)
                if (!std::isnan(static_cast<float>(x[i]))) mask[i] = some[i];
              std::vector<Index> offsets;
              for (Index k = 0; k < cells; ++k) offsets.push_back(k * apart);
              const std::vector<C> centers = numbers<C>(cells, 3, 0.1, 4);
              Call call(place, text + (has_dy ? ", dy" : "") + (has_mask ? ", mask" : ""));
              T *first = call.out<T>(cells), *second = call.out<T>(cells);
              const auto sum = has_mask ? set.kernels.sum_lines_with_options() : set.kernels.sum_lines();
              sum({call.in(has_mask ? masked(x, mask) : x),
                   data_or_null(call, has_dy, has_mask ? masked(dy, mask) : dy),
                   data_or_null(call, has_mask, mask), call.in(offsets), cells, part.lines, part.begin,
                   part.end, call.in(centers), first, second});
              for (Index k = 0; k < cells; ++k) {
                Sums sums;
                for (Index p : places) {
                  const std::size_t i = at(k * apart + p);
                  if (has_mask && !(mask[i] > S(0))) continue;
                  const Real d = real(x[i]) - real(centers[at(k)]);
                  if (has_dy) {
                    sums.add(real(dy[i]), real(dy[i]) * d);
                  } else {
                    sums.add(d, d * d);
                  }
                }
                // A deviation, twice in a square; its product; the sum's terms and three sums of sums; log2 lanes in the total.
                const Real u = kUnit<C>, terms = terms_of_line<S>(part.end - part.begin) + 3 + 4;
                expect_near("first", k, first[k], sums.first, (1 + terms) * u * sums.first_size);
                expect_near("second", k, second[k], sums.second, (3 + terms) * u * sums.second_size);
              }
            }
      });
}

template <typename S>
void test_map_lines() {
  using C = ComputeOf<S>;
  for_each_call<S>(
      "map_lines", sizes_to(1100),
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        int turn = static_cast<int>(n);
        for (const Part& part : parts_of(n))
          for (const bool has_dy : {false, true})
            for (const bool has_residual : {false, true})
              for (const detail::Activation<C>& activation : activations<C>()) {
                if (has_dy && (has_residual || is_active(activation))) continue;
                const bool stream = turn % 2 == 0, in_place = turn % 3 == 0;
                ++turn;
                const bool is_one = part.lines.outer == 1;  // as many cells as are summed together, and more
                const Index cells = is_one && n <= 40 ? n * 7 % 19 + 1 : n % 2 + 1,
                            size = extent_of(part.lines), apart = size + 2;
                const std::vector<Index> places = places_of(part.lines, part.begin, part.end);
                const std::vector<S> x = spread_out<S>(places, size, cells, apart, 3, 1),
                                     dy = spread_out<S>(places, size, cells, apart, 0.5, 2),
                                     residual = spread_out<S>(places, size, cells, apart, 0, 3);
                std::vector<Index> offsets;
                for (Index k = 0; k < cells; ++k) offsets.push_back(k * apart);
                const std::vector<C> c0 = numbers<C>(cells, 3, 0.1, 4), c1 = numbers<C>(cells, 1, 0.5, 5),
                                     c2 = numbers<C>(cells, 0, 1, 6), c3 = numbers<C>(cells, 1, 0.5, 7);
                Call call(place, text + (has_dy ? ", dy" : "") + (has_residual ? ", residual" : "") +
                                     (is_active(activation) ? ", activation" : "") +
                                     (stream ? ", streamed" : "") + (in_place ? ", in place" : ""));
                S* out = in_place ? call.out(has_dy ? dy : x) : call.out<S>(static_cast<Index>(x.size()));
                const std::vector<S> before(out, out + x.size());
                const S* in_x = in_place && !has_dy ? out : call.in(x);
                const S* in_dy = !has_dy ? nullptr : in_place ? out : call.in(dy);
                const auto map = has_residual || is_active(activation) ? set.kernels.map_lines_with_options()
                                 : has_dy                              ? set.kernels.map_gradients_of_lines()
                                                                       : set.kernels.map_lines();
                map({in_x,
                     in_dy,
                     out,
                     call.in(offsets),
                     cells,
                     part.lines,
                     part.begin,
                     part.end,
                     {call.in(c0), call.in(c1), call.in(c2), data_or_null(call, has_dy, c3)},
                     stream ? 256 : 0,
                     stream,
                     {data_or_null(call, has_residual, residual), nullptr, activation}});
                std::vector<bool> written(x.size(), false);
                for (Index k = 0; k < cells; ++k)
                  for (Index p : places) {
                    const std::size_t i = at(k * apart + p), c = at(k);
                    written[i] = true;
                    const Real scaled = (real(x[i]) - real(c0[c])) * real(c1[c]),
                               of_dy = has_dy ? real(dy[i]) * real(c3[c]) : 0,
                               rest = has_residual ? real(residual[i]) : 0;
                    const Real sum = scaled + real(c2[c]) + of_dy + rest, v = activated(sum, activation);
                    // A difference, a product, three sums; and leaky's product, of a factor that is rounded.
                    const Real size_of_terms =
                        std::fabs(scaled) + std::fabs(real(c2[c])) + std::fabs(of_dy) + std::fabs(rest);
                    expect_near("out", static_cast<Index>(i), out[i], v,
                                6 * kUnit<C> * size_of_terms + 2 * stored<S>(v));
                  }
                for (std::size_t i = 0; i < written.size(); ++i)
                  if (!written[i]) expect_same("a gap of out", static_cast<Index>(i), out[i], before[i]);
              }
      });
}

template <typename S>
void test_pivot_lines() {
  using C = ComputeOf<S>;
  for_each_call<S>(
      "pivot_lines", sizes_to(70),
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        for (int variant = 0; variant < 4; ++variant) {
          const bool equal = variant % 2 == 0;
          const Index places = variant < 2 ? 1 : 4;
          const Index cells = 3, stride = cells * n, some = std::min<Index>(n, 16);
          std::vector<S> x = numbers<S>(places * stride, 1000, 1, 1);
          if (equal) std::fill(x.begin(), x.end(), static_cast<S>(0.1f));
          Call call(place, text);
          C* pivots = call.out<C>(cells);
          set.kernels.pivot_lines()(
              {call.in(x), call.in(std::vector<Index>{0, n, 2 * n}), cells, n, pivots, places, stride});
          for (Index k = 0; k < cells; ++k) {
            const auto terms = static_cast<Real>(some * places);
            Real mean = 0, size = 0;
            for (Index p = 0; p < places; ++p) {
              for (Index i = 0; i < some; ++i) {
                const Real value = real(x[at(p * stride + k * n + i)]);
                mean += value / terms;
                size += std::fabs(value - real(x[at(k * n)])) / terms;
              }
            }
            // Differences, terms, 1 / n and its product; and the sum with the first value.
            expect_near("pivot", k, pivots[k], mean, kUnit<C> * ((terms + 3) * size + std::fabs(mean)));
            if (equal) expect_same("pivot", k, pivots[k], static_cast<C>(x[0]));
          }
        }
      });
}

// Columns.

/// Rows side by side, with a gap after each.
struct Columns {
  Index rows, stride, lanes;

  Index size() const { return (rows - 1) * stride + lanes; }
};
std::vector<Columns> columns_of(Index lanes) {
  std::vector<Columns> all;
  for (Index rows : {1, 2, 3, 4, 5, 9}) all.push_back({rows, lanes, lanes});
  all.push_back({7, lanes + 3, lanes});
  if (lanes <= 200) all.push_back({6, 200, lanes});
  if (lanes <= 70) {
    for (Index rows : {15, 16, 17, 33, 130}) all.push_back({rows, lanes, lanes});
    all.push_back({19, 520, lanes});  // wide rows, of which a few are read side by side
  }
  return all;
}
template <typename S>
std::vector<S> columns_values(const Columns& c, double mean, unsigned seed) {
  std::vector<S> values = numbers<S>(c.size(), mean, 1, seed);
  for (Index i = 0; i < c.size(); ++i)
    if (i % c.stride >= c.lanes) values[at(i)] = static_cast<S>(std::numeric_limits<float>::quiet_NaN());
  return values;
}
std::string columns_text(const Columns& c) {
  return ", " + std::to_string(c.rows) + " rows, stride " + std::to_string(c.stride);
}

template <typename S>
void test_sum_columns() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "sum_columns", sizes_to(530),
      [&](const InstructionSet<S>& set, Index lanes, const Place& place, const std::string& text) {
        for (const Columns& columns : columns_of(lanes))
          for (const bool has_dy : {false, true})
            for (const bool has_mask : {false, true})
              for (const bool has_weights : {false, true}) {
                if (has_weights && !has_dy) continue;
                const std::vector<S> x = columns_values<S>(columns, 3, 1),
                                     dy = columns_values<S>(columns, 0.5, 2),
                                     mask = signs<S>(columns.size(), 3);
                const std::vector<C> weights = numbers<C>(columns.rows, 1, 0.5, 4),
                                     centers = numbers<C>(lanes, 3, 0.1, 5);
                const std::vector<T> before = numbers<T>(lanes, 1, 1, 6);
                Call call(place, text + columns_text(columns) + (has_dy ? ", dy" : "") +
                                     (has_mask ? ", mask" : "") + (has_weights ? ", weights" : ""));
                T *first = call.out_with_room(before), *second = call.out_with_room(before);
                const auto sum = has_mask || has_weights ? set.kernels.sum_columns_with_options()
                                                         : set.kernels.sum_columns();
                sum({call.in(has_mask ? masked(x, mask) : x),
                     data_or_null(call, has_dy, has_mask ? masked(dy, mask) : dy),
                     data_or_null(call, has_mask, mask), data_or_null(call, has_weights, weights),
                     columns.rows, columns.stride, lanes, call.in(centers), first, second});
                for (Index l = 0; l < lanes; ++l) {
                  Sums sums;
                  for (Index r = 0; r < columns.rows; ++r) {
                    const std::size_t i = at(r * columns.stride + l);
                    if (has_mask && !(mask[i] > S(0))) continue;
                    const Real d = real(x[i]) - real(centers[at(l)]),
                               g = real(dy[i]) * (has_weights ? real(weights[at(r)]) : 1);
                    if (has_dy) {
                      sums.add(g, g * d);
                    } else {
                      sums.add(d, d * d);
                    }
                  }
                  // A deviation, a weight, a product, the sum's terms, and the sum with what was there before.
                  const Real u = kUnit<C>, b = real(before[at(l)]),
                             terms = terms_of_column<S>(columns.rows) + 2;
                  expect_near("first", l, first[l], b + sums.first,
                              (1 + terms) * u * sums.first_size +
                                  2 * kUnit<T> * std::fabs(b) * static_cast<Real>(columns.rows));
                  expect_near("second", l, second[l], b + sums.second,
                              (4 + terms) * u * sums.second_size +
                                  2 * kUnit<T> * std::fabs(b) * static_cast<Real>(columns.rows));
                }
              }
      });
}

/// Coefficients of lanes, as map_columns takes them where rows follow each other.
template <typename C>
std::vector<C> going_on(std::vector<C> values, const Columns& columns) {
  const std::size_t lanes = values.size();
  for (Index i = 0; columns.stride == columns.lanes && i < detail::kMostInLine; ++i)
    values.push_back(values[at(i) % lanes]);
  return values;
}

template <typename S>
void test_map_columns() {
  using C = ComputeOf<S>;
  for_each_call<S>(
      "map_columns", sizes_to(530),
      [&](const InstructionSet<S>& set, Index lanes, const Place& place, const std::string& text) {
        int turn = static_cast<int>(lanes);
        for (const Columns& columns : columns_of(lanes)) {
          if (columns.rows > 20) continue;
          for (const bool has_dy : {false, true})
            for (const int params : {0, 1, 2})
              for (const int fused : {0, 1, 2, 3, 4}) {
                const bool stream = turn % 2 == 0, in_place = turn % 3 == 0,
                           has_residual = fused == 4 || fused == 2;
                const detail::Activation<C> activation = activations<C>()[at(fused % 4)];
                if (has_dy && is_active(activation)) continue;
                if (lanes > 35 && fused != lanes % 5) continue;  // one of them each
                ++turn;
                const std::vector<S> x = columns_values<S>(columns, 3, 1),
                                     dy = columns_values<S>(columns, 0.5, 2),
                                     residual = columns_values<S>(columns, 0, 3);
                const std::vector<C> gamma = numbers<C>(columns.rows, 1, 0.5, 4),
                                     beta = numbers<C>(columns.rows, 0, 1, 5),
                                     c0 = numbers<C>(lanes, 3, 0.1, 6), c1 = numbers<C>(lanes, 1, 0.5, 7),
                                     c2 = numbers<C>(lanes, 0, 1, 8), c3 = numbers<C>(lanes, 1, 0.5, 9);
                Call call(place, text + columns_text(columns) + (has_dy ? ", dy" : "") +
                                     (has_residual ? ", residual" : "") +
                                     (is_active(activation) ? ", activation" : "") +
                                     (params > 0 ? ", gamma" : "") + (params > 1 ? ", beta" : "") +
                                     (stream ? ", streamed" : "") + (in_place ? ", in place" : ""));
                S* out = in_place ? call.out(has_dy ? dy : x) : call.out<S>(static_cast<Index>(x.size()));
                const std::vector<S> before(out, out + x.size());
                const S* in_x = in_place && !has_dy ? out : call.in(x);
                const S* in_dy = !has_dy ? nullptr : in_place ? out : call.in(dy);
                const auto map = has_residual || is_active(activation)
                                     ? set.kernels.map_columns_with_options()
                                 : params > 0 ? set.kernels.map_columns_by_row()
                                 : has_dy     ? set.kernels.map_gradients_of_columns()
                                              : set.kernels.map_columns();
                const S* const more = data_or_null(call, has_residual, residual);
                map({in_x,
                     in_dy,
                     out,
                     data_or_null(call, params > 0, gamma),
                     data_or_null(call, params > 1, beta),
                     columns.rows,
                     columns.stride,
                     lanes,
                     {call.in(going_on(c0, columns)), call.in(going_on(c1, columns)),
                      call.in(going_on(c2, columns)), data_or_null(call, has_dy, going_on(c3, columns))},
                     stream ? 256 : 0,
                     stream,
                     {has_dy ? nullptr : more, nullptr, activation},
                     has_dy ? more : nullptr});
                for (Index i = 0; i < columns.size(); ++i) {
                  const Index r = i / columns.stride, l = i % columns.stride;
                  if (l >= lanes) {
                    expect_same("a gap of out", i, out[i], before[at(i)]);
                    continue;
                  }
                  const Real g = params > 0 ? real(gamma[at(r)]) : 1, b = params > 1 ? real(beta[at(r)]) : 0,
                             rest = has_residual ? real(residual[at(i)]) : 0;
                  const Real scaled = (real(x[at(i)]) - real(c0[at(l)])) * real(c1[at(l)]),
                             shift = real(c2[at(l)]);
                  const Real of_dy = has_dy ? real(dy[at(i)]) * g * real(c3[at(l)]) : 0;
                  const Real factor = has_dy ? 1 : g, constant = has_dy ? 0 : b;
                  const Real v = activated((scaled + shift) * factor + constant + of_dy + rest, activation);
                  const Real size = std::fabs(scaled * factor) + std::fabs(shift * factor) +
                                    std::fabs(constant) + std::fabs(of_dy) + std::fabs(rest);
                  // A difference, two products, three sums; and leaky's product, of a factor that is rounded.
                  expect_near("out", i, out[i], v, 8 * kUnit<C> * size + 2 * stored<S>(v));
                }
              }
        }
      });
}

template <typename S>
void test_pivot_columns() {
  using C = ComputeOf<S>;
  for_each_call<S>(
      "pivot_columns", sizes_to(130),
      [&](const InstructionSet<S>& set, Index lanes, const Place& place, const std::string& text) {
        for (const bool equal : {false, true})
          for (const Index rows : {1, 2, 5, 16}) {
            const Columns columns{rows, lanes + 2, lanes};
            std::vector<S> x = columns_values<S>(columns, 1000, 1);
            if (equal) std::fill(x.begin(), x.end(), static_cast<S>(0.1f));
            Call call(place, text + columns_text(columns));
            C* pivots = call.out<C>(lanes);
            set.kernels.pivot_columns()({call.in(x), rows, lanes + 2, lanes, pivots});
            for (Index l = 0; l < lanes; ++l) {
              Real mean = 0, size = 0;
              for (Index r = 0; r < rows; ++r) {
                mean += real(x[at(r * (lanes + 2) + l)]) / static_cast<Real>(rows);
                size +=
                    std::fabs(real(x[at(r * (lanes + 2) + l)]) - real(x[at(l)])) / static_cast<Real>(rows);
              }
              // As of lines.
              expect_near("pivot", l, pivots[l], mean, kUnit<C> * (19 * size + std::fabs(mean)));
              if (equal) expect_same("pivot", l, pivots[l], static_cast<C>(x[0]));
            }
          }
      });
}

template <typename S>
void test_sum_params() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "sum_params", sizes_to(530),
      [&](const InstructionSet<S>& set, Index lanes, const Place& place, const std::string& text) {
        for (const Columns& columns : {Columns{1, lanes, lanes}, Columns{5, lanes + 3, lanes}}) {
          const std::vector<S> x = columns_values<S>(columns, 3, 1), dy = columns_values<S>(columns, 0.5, 2);
          const std::vector<C> c0 = numbers<C>(lanes, 3, 0.1, 3), c1 = numbers<C>(lanes, 1, 0.5, 4),
                               c2 = numbers<C>(lanes, 0, 1, 5);
          const std::vector<T> before = numbers<T>(columns.rows, 1, 1, 6);
          Call call(place, text + columns_text(columns));
          T *grad_gamma = call.out(before), *grad_beta = call.out(before);
          set.kernels.sum_params()({call.in(x),
                                    call.in(dy),
                                    columns.rows,
                                    columns.stride,
                                    lanes,
                                    {call.in(c0), call.in(c1), call.in(c2)},
                                    grad_gamma,
                                    grad_beta});
          for (Index r = 0; r < columns.rows; ++r) {
            Sums sums;
            Real xhat_size = 0;
            for (Index l = 0; l < lanes; ++l) {
              const std::size_t i = at(r * columns.stride + l);
              const Real scaled = (real(x[i]) - real(c0[at(l)])) * real(c1[at(l)]);
              sums.add(real(dy[i]), real(dy[i]) * (scaled + real(c2[at(l)])));
              xhat_size += std::fabs(real(dy[i])) * (std::fabs(scaled) + std::fabs(real(c2[at(l)])));
            }
            // xhat is rounded three times in the compute type, sums in the statistic type.
            const Real sum = static_cast<Real>(lanes + 6) * kUnit<T>, b = std::fabs(real(before[at(r)]));
            expect_near("grad_beta", r, grad_beta[r], real(before[at(r)]) + sums.first,
                        sum * (sums.first_size + b));
            expect_near("grad_gamma", r, grad_gamma[r], real(before[at(r)]) + sums.second,
                        sum * (xhat_size + b) + 3 * kUnit<C> * xhat_size);
          }
        }
      });
}

// Rows.

/// Exact statistics of a row.
struct RowMoments {
  Real mean = 0, variance = 0, inv_std = 0, deviation = 0;  // the last one: mean|x - mean|

  RowMoments(const std::vector<Real>& x, Real epsilon, bool rms) {
    const Real n = static_cast<Real>(x.size());
    if (!rms) {
      for (Real value : x) mean += value / n;
    }
    for (Real value : x) {
      variance += (value - mean) * (value - mean) / n;
      deviation += std::fabs(value - mean) / n;
    }
    inv_std = 1 / std::sqrt(variance + epsilon);
  }
};

/// Roundings of a sum over a row: of 16 vectors or 4 lines of 8 at most in the compute type, and over its lanes.
template <typename S>
Real terms_of_row(Index n) {
  return std::is_same_v<ComputeOf<S>, double> ? 24 + static_cast<Real>(n) / 2 : 24;
}

struct RowCase {
  Index rows, stride;
  bool rms, has_gamma, has_beta, saves, stream, in_place;
  double gamma_offset;
  bool has_residual;
  int activation;
};
std::vector<RowCase> row_cases(Index n) {
  std::vector<RowCase> cases = {
      {5, n, false, true, true, true, false, false, 0, false, 0},
      {3, n, false, true, true, true, true, false, 0, false, 0},
      {2, n + 3, false, true, false, true, true, false, 0, false, 0},
      {1, n, false, false, true, true, false, true, 0, false, 0},
      {4, n + 1, true, true, false, true, false, false, 0, false, 0},
      {2, n, true, false, false, false, true, false, 0, false, 0},
      {3, n, false, true, true, true, false, false, 1, false, 0},
      {3, n, true, true, false, true, false, true, 1, false, 0},
      {2, n, false, false, true, false, true, false, 1, false, 0},
      {3, n, false, true, true, true, false, false, 0, true, 1},
      {2, n + 2, false, true, true, true, true, false, 1, true, 2},
      {2, n, false, true, true, false, false, false, 0, true, 4},
      {3, n, false, false, false, false, false, true, 0, false, 3},
      {3, n, true, true, false, true, true, false, 1, true, 1},
  };
  if (n <= 70) cases.push_back({37, n, false, true, true, true, false, false, 0, false, 0});
  if (n <= 70) cases.push_back({70, n, false, true, true, true, true, false, 0, false, 0});
  if (n % 32 == 0 && n > 64) {  // long rows of whole vectors, which are written beside sums
    cases.push_back({20, n, false, true, true, true, false, false, 0, false, 0});
    cases.push_back({21, n, false, true, true, false, true, false, 0, false, 0});
    cases.push_back({19, n + 16, false, true, true, true, false, true, 0, false, 0});
    cases.push_back({21, n, true, true, false, true, true, false, 0, false, 0});
  }
  return cases;
}

template <typename S>
void test_normalize_rows() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  std::vector<Index> sizes = sizes_to(2100);
  sizes.push_back(2048);  // of which fewer than a register has lanes are near
  for_each_call<S>(
      "normalize_rows", sizes,
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        for (const RowCase& c : row_cases(n)) {
          const Columns rows{c.rows, c.stride, n};
          const T epsilon(1e-5);
          std::vector<S> x = columns_values<S>(rows, 3, 1);
          if (c.rows > 17 && n > 64) std::fill_n(&x[at(17 * c.stride)], 16, S(1000));  // whose pivot is poor
          const std::vector<S> residual = columns_values<S>(rows, 0, 3);
          const std::vector<C> gamma = numbers<C>(n, 1, 0.5, 4), beta = numbers<C>(n, 0, 1, 5);
          const detail::Activation<C> activation = activations<C>()[at(c.activation)];
          Call call(place,
                    text + columns_text(rows) + (c.rms ? ", rms" : "") + (c.has_gamma ? ", gamma" : "") +
                        (c.has_beta ? ", beta" : "") + (c.saves ? "" : ", saves nothing") +
                        (c.stream ? ", streamed" : "") + (c.in_place ? ", in place" : "") +
                        (c.gamma_offset != 0 ? ", gamma_offset" : "") + (c.has_residual ? ", residual" : "") +
                        (is_active(activation) ? ", activation" : ""));
          detail::NormalizeRows<S> a{};
          a.y = c.in_place ? call.out(x) : call.out<S>(rows.size());
          const std::vector<S> before(a.y, a.y + rows.size());
          a.x = c.in_place ? a.y : call.in(x);
          a.rows = c.rows;
          a.n = n;
          a.stride = c.stride;
          a.gamma = data_or_null(call, c.has_gamma, gamma);
          a.beta = data_or_null(call, c.has_beta, beta);
          a.epsilon = epsilon;
          if (c.saves) {
            a.mean = call.out<T>(c.rows);
            a.mean_low = call.out<T>(c.rows);
            a.variance = call.out<T>(c.rows);
            a.inv_std = call.out<T>(c.rows);
          }
          a.outside = call.out<unsigned char>(c.rows);
          a.stream = c.stream;
          a.gamma_offset = C(c.gamma_offset);
          a.epilogue = {data_or_null(call, c.has_residual, residual), nullptr, activation};
          const bool has_options = c.has_residual || is_active(activation);
          const auto& kernels = set.kernels;
          const auto normalize =
              c.rms ? (has_options ? kernels.normalize_rms_rows_with_options() : kernels.normalize_rms_rows())
                    : (has_options ? kernels.normalize_rows_with_options() : kernels.normalize_rows());
          EXPECT_EQ(normalize(a), 0) << Call::what();

          for (Index r = 0; r < c.rows; ++r) {
            expect_same<unsigned char>("outside", r, a.outside[r], 0);
            std::vector<Real> values;
            for (Index i = 0; i < n; ++i) values.push_back(real(x[at(r * c.stride + i)]));
            const RowMoments m(values, real(epsilon), c.rms);
            const Real u = kUnit<C>, terms = terms_of_row<S>(n);
            // The mean's error is that of a sum of deviations from a value nearby; half of the error of the variance, which
            // is that of a sum of squares, is inv_std's.
            const Real mean_error = 2 * (1 + terms) * u * m.deviation +
                                    kUnit<T> * kUnit<T> * std::fabs(m.mean) + 0x1p-64L * std::fabs(m.mean);
            const Real relative = (3 + terms) * u;
            if (c.saves) {
              expect_near("mean", r, real(a.mean[r]) + real(a.mean_low[r]), m.mean, mean_error);
              expect_near("variance", r, a.variance[r], m.variance, relative * m.variance);
              expect_near("inv_std", r, a.inv_std[r], m.inv_std, (relative / 2 + 2 * kUnit<T>)*m.inv_std);
              if (c.rms) expect_same("mean", r, a.mean[r], T(0));
            }
            for (Index i = 0; i < n; ++i) {
              const std::size_t k = at(r * c.stride + i);
              const Real xhat = (values[at(i)] - m.mean) * m.inv_std;
              const Real g = c.has_gamma ? real(gamma[at(i)]) + real(a.gamma_offset) : 1,
                         b = c.has_beta ? real(beta[at(i)]) : 0,
                         rest = c.has_residual ? real(residual[k]) : 0;
              const Real v = activated(xhat * g + b + rest, activation);
              // xhat: of the mean and of inv_std, a difference, inv_std's rounding and a product, and the shift; then gamma's
              // sum and product, and three sums or products more.
              const Real error =
                  std::fabs(g) * (mean_error * m.inv_std + (relative / 2 + 4 * u) * std::fabs(xhat)) +
                  5 * u * (std::fabs(xhat * g) + std::fabs(b) + std::fabs(rest)) +
                  u * std::fabs(xhat) * (std::fabs(g) + 2 * std::fabs(real(a.gamma_offset)));
              expect_near("y", static_cast<Index>(k), a.y[k], v, error + 2 * stored<S>(v));
            }
          }
          for (Index i = 0; i < rows.size(); ++i) {
            if (i % c.stride < n) continue;
            expect_same("a gap of y", i, a.y[i], before[at(i)]);
          }
        }
      });
}

/// sum = x + skip, rounded once, out of place and over either.
template <typename S>
void test_add_rows() {
  using C = ComputeOf<S>;
  for_each_call<S>(
      "add_rows", sizes_to(530),
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        for (const Columns& rows : {Columns{1, n, n}, Columns{3, n, n}, Columns{5, n + 3, n}})
          for (const int over : {0, 1, 2}) {
            const std::vector<S> x = columns_values<S>(rows, 3, 1), skip = columns_values<S>(rows, -1, 2);
            Call call(place, text + columns_text(rows) + (over == 0 ? "" : ", in place"));
            S* const sum = over == 1 ? call.out(x) : over == 2 ? call.out(skip) : call.out<S>(rows.size());
            const std::vector<S> before(sum, sum + rows.size());
            set.kernels.add_rows()({over == 1 ? sum : call.in(x), over == 2 ? sum : call.in(skip), sum,
                                    rows.rows, n, rows.stride});
            for (Index i = 0; i < rows.size(); ++i) {
              const std::size_t k = at(i);
              const bool is_gap = i % rows.stride >= n;
              expect_same("sum", i, sum[i],
                          is_gap ? before[k] : S(static_cast<C>(x[k]) + static_cast<C>(skip[k])));
            }
          }
      });
}

/// Rows whose squares the compute type has no room for are told, and left alone; those beside them are as alone.
template <typename S>
void test_rows_outside() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  const double kLarge = std::is_same_v<S, double> ? 1e200 : 1e30;
  for_each_call<S>(
      "normalize_rows, some out of range", sizes_to(512),
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        if (n == 1) return;  // one value has no deviations
        for (const bool fused : {false, true}) {
          // Batches of as many rows as a register has lanes, with and without such rows.
          const Index count = 59;
          std::vector<S> x = numbers<S>(count * n, 3, 1, 1), residual = numbers<S>(count * n, 0, 1, 2);
          const auto is_bad = [](Index r) { return r == 1 || r == 6 || r == 41; };
          for (Index r = 0; r < count; ++r)
            if (is_bad(r))
              x[at(r * n + r % n)] = r == 6 ? std::numeric_limits<S>::quiet_NaN() : static_cast<S>(kLarge);
          const std::vector<C> gamma = numbers<C>(n, 1, 0.5, 4), beta = numbers<C>(n, 0, 1, 5);
          Call call(place, text + (fused ? ", residual" : ""));
          detail::NormalizeRows<S> a{};
          a.x = call.in(x);
          a.y = call.out<S>(count * n);
          a.rows = count;
          a.n = a.stride = n;
          a.gamma = call.in(gamma);
          a.beta = call.in(beta);
          a.epsilon = T(1e-5);
          a.outside = call.out<unsigned char>(count);
          a.epilogue.residual = data_or_null(call, fused, residual);
          const auto normalize =
              fused ? set.kernels.normalize_rows_with_options() : set.kernels.normalize_rows();
          EXPECT_EQ(normalize(a), 3) << Call::what();
          const std::vector<S> y(a.y, a.y + count * n);
          for (Index r = 0; r < count; ++r) {
            expect_same<unsigned char>("outside", r, a.outside[r], is_bad(r) ? 1 : 0);
            if (!is_bad(r)) {
              detail::NormalizeRows<S> alone = a;
              std::vector<S> own(at(n));
              unsigned char outside = 7;
              alone.x = a.x + r * n;
              alone.y = own.data();
              alone.rows = 1;
              alone.outside = &outside;
              if (fused) alone.epilogue.residual = a.epilogue.residual + r * n;
              normalize(alone);
              for (Index i = 0; i < n; ++i)
                expect_same("y of a row beside", r * n + i, y[at(r * n + i)], own[at(i)]);
            } else {
              for (Index i = 0; i < n; ++i)
                expect_same("y of a row out of range", r * n + i, y[at(r * n + i)], S(7));
            }
          }
        }
      });
}

struct GradientCase {
  Index rows, stride;
  bool rms, has_gamma, has_low, has_grads, stream, in_place;
  bool has_plus;
};
std::vector<GradientCase> gradient_cases(Index n) {
  std::vector<GradientCase> cases = {
      {1, n, false, true, true, true, false, false, false},
      {2, n, false, true, true, true, true, false, false},
      {3, n + 3, false, true, false, true, true, false, false},
      {4, n, false, false, true, true, false, true, false},
      {5, n + 1, true, true, false, true, false, false, false},
      {2, n, true, false, false, false, true, false, false},
      {3, n, false, true, true, false, false, true, false},
      {19, n, false, true, true, true, false, false, false},
  };
  if (n <= 130) cases.push_back({37, n, false, true, true, true, true, false, false});
  if (n <= 130) cases.push_back({37, n, false, true, true, true, false, true, false});
  return cases;
}

template <typename S>
void test_row_gradients(std::vector<GradientCase> (*cases)(Index), Index most) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "row_gradients", sizes_to(most),
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        for (const GradientCase& c : cases(n)) {
          const Columns rows{c.rows, c.stride, n};
          const std::vector<S> x = columns_values<S>(rows, 3, 1), dy = columns_values<S>(rows, 0.5, 2),
                               plus = columns_values<S>(rows, 0, 3);
          const std::vector<C> gamma = numbers<C>(n, 1, 0.5, 4);
          std::vector<T> mean, mean_low, inv_std;
          std::vector<RowMoments> moments;
          for (Index r = 0; r < c.rows; ++r) {
            std::vector<Real> values;
            for (Index i = 0; i < n; ++i) values.push_back(real(x[at(r * c.stride + i)]));
            RowMoments m(values, 1e-5L, c.rms);
            mean.push_back(static_cast<T>(m.mean));
            mean_low.push_back(static_cast<T>(m.mean - real(mean.back())));
            inv_std.push_back(static_cast<T>(m.inv_std));
            // What the kernel is given, to the bit.
            m.mean = real(mean.back()) + (c.has_low ? real(mean_low.back()) : 0);
            m.inv_std = real(inv_std.back());
            moments.push_back(m);
          }
          const std::vector<T> before = numbers<T>(n, 1, 1, 5);
          Call call(place, text + columns_text(rows) + (c.rms ? ", rms" : "") +
                               (c.has_gamma ? ", gamma" : "") + (c.has_low ? ", mean_low" : "") +
                               (c.has_grads ? "" : ", no gradients of parameters") +
                               (c.stream ? ", streamed" : "") + (c.in_place ? ", in place" : "") +
                               (c.has_plus ? ", plus" : ""));
          detail::RowGradients<S> a{};
          a.x = call.in(x);
          a.dx = c.in_place ? call.out(dy) : call.out<S>(rows.size());
          const std::vector<S> dx_before(a.dx, a.dx + rows.size());
          a.dy = c.in_place ? a.dx : call.in(dy);
          a.rows = c.rows;
          a.n = n;
          a.stride = c.stride;
          a.weights = call.in(c.has_gamma ? gamma : std::vector<C>(at(n), C(1)));
          a.mean = call.in(mean);
          a.mean_low = data_or_null(call, c.has_low, mean_low);
          a.inv_std = call.in(inv_std);
          a.grad_gamma = c.has_grads ? call.out(before) : nullptr;
          a.grad_beta = c.has_grads ? call.out(before) : nullptr;
          a.scratch = call.out<C>(4 * n, std::numeric_limits<C>::quiet_NaN());
          a.outside = call.out<unsigned char>(c.rows);
          a.stream = c.stream;
          a.plus = data_or_null(call, c.has_plus, plus);
          const auto& kernels = set.kernels;
          const auto differentiate =
              c.rms ? (c.has_plus ? kernels.rms_row_gradients_with_options() : kernels.rms_row_gradients())
                    : (c.has_plus ? kernels.row_gradients_with_options() : kernels.row_gradients());
          EXPECT_EQ(differentiate(a), 0) << Call::what();

          const Real u = kUnit<C>, count = static_cast<Real>(n);
          std::vector<Sums> params(at(n));
          std::vector<Real> xhat_sizes(at(n), 0);
          for (Index r = 0; r < c.rows; ++r) {
            expect_same<unsigned char>("outside", r, a.outside[r], detail::kInside);
            const RowMoments& m = moments[at(r)];
            const Real low = std::fabs(m.mean - real(static_cast<C>(m.mean)));
            Real mean_g = 0, mean_gx = 0, g_size = 0, gx_size = 0, largest = 0;
            const auto g_of = [&](Index i) {
              return real(dy[at(r * c.stride + i)]) * (c.has_gamma ? real(gamma[at(i)]) : 1);
            };
            const auto xhat_of = [&](Index i) {
              return (real(x[at(r * c.stride + i)]) - m.mean) * m.inv_std;
            };
            for (Index i = 0; i < n; ++i) {
              const Real xhat = xhat_of(i), g = g_of(i), d = real(dy[at(r * c.stride + i)]);
              mean_g += g / count;
              mean_gx += g * xhat / count;
              g_size += std::fabs(g) / count;
              // xhat's own terms: what the mean lacks of its rounded value enters by the shift.
              gx_size += std::fabs(g) * (std::fabs(xhat) + 2 * low * m.inv_std) / count;
              largest = std::fmax(largest, std::fabs(g));
              params[at(i)].add(d, d * xhat);
              xhat_sizes[at(i)] += std::fabs(d) * (std::fabs(xhat) + 2 * low * m.inv_std);
            }
            if (c.rms) mean_g = 0;
            // Sums of kShortParamSum = 16 vectors at most, which are added up over 8 of those, then over the lanes; xhat goes
            // through 3 roundings, its products through 2.
            const Real terms = std::is_same_v<C, double> ? 40 + count / 8 : 40;
            const Real mean_g_error = c.rms ? 0 : terms * u * g_size,
                       mean_gx_error = (terms + 5) * u * gx_size;
            for (Index i = 0; i < n; ++i) {
              const Index k = r * c.stride + i;
              const Real xhat = xhat_of(i), g = g_of(i), rest = c.has_plus ? real(plus[at(k)]) : 0;
              const Real dx = m.inv_std * (g - mean_g - xhat * mean_gx) + rest;
              const Real size = m.inv_std * (std::fabs(g) + std::fabs(mean_g) +
                                             (std::fabs(xhat) + 2 * low * m.inv_std) * std::fabs(mean_gx)) +
                                std::fabs(rest);
              // The means' errors; then each term goes through 5 roundings.
              const Real error = m.inv_std * (mean_g_error + std::fabs(xhat) * mean_gx_error) + 5 * u * size;
              expect_near("dx", k, a.dx[k], dx, error + stored<S>(dx) * 2);
            }
          }
          for (Index i = 0; c.has_grads && i < n; ++i) {
            // 16 rows in the compute type, of terms that are rounded four times.
            const Real terms = std::is_same_v<C, double> ? static_cast<Real>(c.rows) : 17,
                       b = real(before[at(i)]);
            const Real sums = 64 * kUnit<T> * (std::fabs(b) + params[at(i)].first_size + xhat_sizes[at(i)]);
            if (c.rms) {
              expect_same("grad_beta", i, a.grad_beta[i], before[at(i)]);
            } else {
              expect_near("grad_beta", i, a.grad_beta[i], b + params[at(i)].first,
                          terms * u * params[at(i)].first_size + sums);
            }
            expect_near("grad_gamma", i, a.grad_gamma[i], b + params[at(i)].second,
                        (terms + 4) * u * xhat_sizes[at(i)] + sums);
          }
          for (Index i = 0; i < rows.size(); ++i)
            if (i % c.stride >= n) expect_same("a gap of dx", i, a.dx[i], dx_before[at(i)]);
        }
      });
}

/// Rows that are left to the wide kernels: their dx is not written; those with statistics out of range add nothing to
/// the gradients of parameters, those with gradients out of range do, if they can.
template <typename S>
void test_gradients_outside() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  const double kTiny = std::is_same_v<S, double> ? 1e-250 : 1e-30,
               kHuge = std::is_same_v<S, double> ? 1e280 : 1e35;
  for_each_call<S>("row_gradients, some out of range", sizes_to(300),
                   [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
                     for (const bool in_place : {false, true}) {
                       const Index count = 21;
                       const std::vector<S> x = numbers<S>(count * n, 0, 1, 1);
                       std::vector<S> dy = numbers<S>(count * n, 0.5, 1, 2);
                       std::vector<T> mean(at(count), T(0)), inv_std(at(count), T(1));
                       std::vector<unsigned char> expected(at(count), detail::kInside);
                       for (Index r = 0; r < count; ++r) {
                         if (r % 7 == 2) {
                           inv_std[at(r)] = r == 9 ? std::numeric_limits<T>::quiet_NaN() : T(kHuge);
                           expected[at(r)] = detail::kStatisticsOutside;
                         }
                         if (r % 7 != 5) continue;
                         for (Index i = 0; i < n; ++i)
                           dy[at(r * n + i)] = static_cast<S>(static_cast<double>(dy[at(r * n + i)]) * kTiny);
                         expected[at(r)] = detail::kGradientsOutside;
                       }
                       Call call(place, text + (in_place ? ", in place" : ""));
                       detail::RowGradients<S> a{};
                       a.x = call.in(x);
                       a.dx = in_place ? call.out(dy) : call.out<S>(count * n);
                       a.dy = in_place ? a.dx : call.in(dy);
                       a.rows = count;
                       a.n = a.stride = n;
                       a.weights = call.in(std::vector<C>(at(n), C(1)));
                       a.mean = call.in(mean);
                       a.inv_std = call.in(inv_std);
                       a.grad_gamma = call.out<T>(n, T(0));
                       a.grad_beta = call.out<T>(n, T(0));
                       a.scratch = call.out<C>(4 * n);
                       a.outside = call.out<unsigned char>(count);
                       const std::vector<S> before(a.dx, a.dx + count * n);
                       EXPECT_EQ(set.kernels.row_gradients()(a), 6) << Call::what();
                       std::vector<Sums> params(at(n));
                       for (Index r = 0; r < count; ++r) {
                         expect_same("outside", r, a.outside[r], expected[at(r)]);
                         for (Index i = 0; i < n; ++i) {
                           const Index k = r * n + i;
                           if (expected[at(r)] != detail::kInside)
                             expect_same("dx of a row out of range", k, a.dx[k], before[at(k)]);
                           if (expected[at(r)] != detail::kStatisticsOutside)
                             params[at(i)].add(real(dy[at(k)]), real(dy[at(k)]) * real(x[at(k)]));
                         }
                       }
                       for (Index i = 0; i < n; ++i) {
                         // As of rows in range.
                         const Real terms = 25 * kUnit<C> + 64 * kUnit<T>;
                         expect_near("grad_beta", i, a.grad_beta[i], params[at(i)].first,
                                     terms * params[at(i)].first_size);
                         expect_near("grad_gamma", i, a.grad_gamma[i], params[at(i)].second,
                                     terms * params[at(i)].second_size);
                       }
                     }
                   });
}

// Wide kernels: all in the statistic type.

struct WideCase {
  bool has_dy, has_mask, line_params, lane_params;
  detail::WideShare share;

  /// Six lines of n elements; three where they share nothing.
  detail::Lines lines(Index n) const {
    if (share == detail::WideShare::lines) return {1, 0, 3, n + 3, n};
    return {2, 3 * (n + 3) + 5, 3, n + 3, n};
  }
  /// How many centers there are, and which one a lane of a line has.
  Index count(Index n) const {
    return share == detail::WideShare::all ? 1 : share == detail::WideShare::lanes ? n : 3;
  }
  std::size_t index(std::size_t line, std::size_t lane) const {
    return share == detail::WideShare::all ? 0 : share == detail::WideShare::lanes ? lane : line;
  }
};
std::vector<WideCase> wide_cases() {
  std::vector<WideCase> cases;
  using Share = detail::WideShare;
  for (const Share share : {Share::all, Share::lanes, Share::lines})
    for (const bool has_dy : {false, true})
      for (const bool has_mask : {false, true})
        for (const int params : {0, 1, 2})
          cases.push_back({has_dy, has_mask, params == 1, params == 2, share});
  return cases;
}
std::string wide_text(const WideCase& c) {
  return std::string(c.has_dy ? ", dy" : "") + (c.has_mask ? ", mask" : "") +
         (c.line_params ? ", a parameter a line" : "") + (c.lane_params ? ", a parameter a lane" : "") +
         ", share " + std::to_string(static_cast<int>(c.share));
}
/// A number a lane, or one; 1 where the kernel takes none.
template <typename C, typename T>
std::vector<T> powers_of_two(Index count) {
  std::vector<T> values;
  for (Index i = 0; i < count; ++i)
    values.push_back(detail::kHasRoom<C> ? T(1)
                                         : static_cast<T>(std::ldexp(1.0, static_cast<int>(i * 5 % 7) - 3)));
  return values;
}

/// With room that is finite.
template <typename T>
std::vector<T> with_room(std::vector<T> values) {
  values.resize(values.size() + at(detail::kPadding), T(3));
  return values;
}

template <typename S>
void test_sum_wide(bool hides_nan) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "sum_wide", sizes_to(130),
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        for (const WideCase& c : wide_cases()) {
          const detail::Lines lines = c.lines(n);
          const Index line_count = lines.outer * lines.inner, some = c.count(n);
          const std::vector<Index> places = places_of(lines, 0, line_count * n);
          const std::vector<S> x = spread_out<S>(places, extent_of(lines), 1, 0, 3, 1),
                               dy = spread_out<S>(places, extent_of(lines), 1, 0, 0.5, 2),
                               mask = signs<S>(static_cast<Index>(x.size()), 3);
          const std::vector<C> of_lines = numbers<C>(line_count, 1, 0.5, 4),
                               of_lanes = numbers<C>(n, 1, 0.5, 5);
          const std::vector<T> center = numbers<T>(some, 3, 0.1, 6), x_scale = powers_of_two<C, T>(some),
                               dy_scale = powers_of_two<C, T>(some + 1);
          Call call(place, text + wide_text(c));
          T *first = call.out_with_room<T>(some), *second = call.out_with_room<T>(some);
          set.kernels.sum_wide()(
              {call.in(c.has_mask && hides_nan ? masked(x, mask) : x),
               data_or_null(call, c.has_dy, c.has_mask && hides_nan ? masked(dy, mask) : dy),
               data_or_null(call, c.has_mask, mask), data_or_null(call, c.line_params, of_lines),
               data_or_null(call, c.lane_params, of_lanes), lines, c.share, call.in(with_room(center)),
               data_or_null(call, !detail::kHasRoom<C>, with_room(x_scale)),
               data_or_null(call, c.has_dy && !detail::kHasRoom<C>,
                            with_room(std::vector<T>(dy_scale.begin() + 1, dy_scale.end()))),
               first, second});
          std::vector<Sums> sums(at(some));
          for (std::size_t i = 0; i < places.size(); ++i) {
            const std::size_t p = at(places[i]), lane = i % at(n), line = i / at(n), k = c.index(line, lane);
            if (c.has_mask && !(mask[p] > S(0))) continue;
            const Real d = real(x[p]) * real(x_scale[k]) - real(center[k]);
            const Real g = real(dy[p]) * real(dy_scale[k + 1]) * (c.line_params ? real(of_lines[line]) : 1) *
                           (c.lane_params ? real(of_lanes[lane]) : 1);
            if (c.has_dy) {
              sums[k].add(g, g * d);
            } else {
              sums[k].add(d, d * d);
            }
          }
          for (Index k = 0; k < some; ++k) {
            // A difference and a weight a term, a product of both, and sums that keep what they round off unless the
            // statistic type has digits to spare.
            const Real u = kUnit<T>, additions = detail::kHasRoom<C> ? 6 * n : 0;
            expect_near("first", k, first[k], sums[at(k)].first,
                        (6 + additions) * u * sums[at(k)].first_size);
            expect_near("second", k, second[k], sums[at(k)].second,
                        (10 + additions) * u * sums[at(k)].second_size);
          }
        }
      });
}

template <typename S>
void test_map_wide() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "map_wide", sizes_to(130),
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        int turn = static_cast<int>(n);
        for (const WideCase& c : wide_cases()) {
          const detail::Lines lines = c.lines(n);
          const Index line_count = lines.outer * lines.inner, some = c.count(n);
          const std::vector<Index> places = places_of(lines, 0, line_count * n);
          const bool has_residual = c.has_mask,
                     adds = c.has_dy && c.has_mask;  // there is no mask
          const detail::Activation<C> activation = activations<C>()[at(c.has_dy ? 0 : ++turn % 4)];
          const Index size = extent_of(lines);
          const std::vector<S> x = spread_out<S>(places, size, 1, 0, 3, 1),
                               dy = spread_out<S>(places, size, 1, 0, 0.5, 2),
                               residual = spread_out<S>(places, size, 1, 0, 0, 3);
          const Index params = c.line_params ? line_count : n;
          const std::vector<C> gamma = numbers<C>(params, 1, 0.5, 4), beta = numbers<C>(params, 0, 1, 5);
          std::vector<T> of[7];  // c, x_scale, dy_scale, result
          for (unsigned j = 0; j < 4; ++j) of[j] = numbers<T>(some, j == 0 ? 3 : 1, 0.5, 6 + j);
          of[4] = of[5] = of[6] = powers_of_two<C, T>(some);
          const std::vector<T> slope = numbers<T>(some, 1, 0.5, 10), level = numbers<T>(some, 0, 1, 11);
          const bool per_lane = c.share != detail::WideShare::lanes;
          const Index sums = per_lane ? n : line_count;
          const std::vector<T> sums_before = numbers<T>(sums, 0, 1, 12);
          Call call(place, text + wide_text(c) + (has_residual ? ", residual" : "") +
                               (is_active(activation) ? ", activation" : ""));
          detail::MapWide<S> a{};
          a.x = call.in(x);
          a.dy = data_or_null(call, c.has_dy, dy);
          a.out = call.out<S>(size);
          a.line_gamma = data_or_null(call, c.line_params, gamma);
          a.line_beta = data_or_null(call, c.line_params && !c.has_dy, beta);
          a.lane_gamma = data_or_null(call, c.lane_params, gamma);
          a.lane_beta = data_or_null(call, c.lane_params && !c.has_dy, beta);
          a.lines = lines;
          a.share = c.share;
          for (int j = 0; j < 3; ++j) a.c[j] = call.in(with_room(of[j]));
          a.c[3] = data_or_null(call, c.has_dy, with_room(of[3]));
          a.x_scale = data_or_null(call, !detail::kHasRoom<C>, with_room(of[4]));
          a.dy_scale = data_or_null(call, c.has_dy && !detail::kHasRoom<C>, with_room(of[5]));
          a.result = data_or_null(call, c.has_dy && !detail::kHasRoom<C>, with_room(of[6]));
          if (adds) {
            a.xhat[0] = call.in(with_room(slope));
            a.xhat[1] = call.in(with_room(level));
            a.grad_gamma = call.out(sums_before);
            a.grad_beta = call.out(sums_before);
          }
          const S* const more = data_or_null(call, has_residual, residual);
          a.epilogue = {c.has_dy ? nullptr : more, nullptr, activation};
          a.plus = c.has_dy ? more : nullptr;
          if (has_residual || is_active(activation)) a.apply_epilogue = set.kernels.apply_epilogue();
          if (c.has_dy) {
            set.kernels.map_gradients_wide()(a);
          } else {
            set.kernels.map_wide()(a);
          }
          std::vector<Sums> param_sums(at(sums));
          std::vector<bool> written(at(size), false);
          for (std::size_t i = 0; i < places.size(); ++i) {
            const std::size_t p = at(places[i]), lane = i % at(n), line = i / at(n), k = c.index(line, lane),
                              param = c.line_params ? line : lane;
            written[p] = true;
            const bool has_params = c.line_params || c.lane_params;
            const Real g = has_params ? real(gamma[param]) : 1,
                       b = has_params && !c.has_dy ? real(beta[param]) : 0;
            const Real scaled = (real(x[p]) * real(of[4][k]) - real(of[0][k])) * real(of[1][k]),
                       shift = real(of[2][k]);
            const Real of_dy = c.has_dy ? g * real(dy[p]) * real(of[5][k]) * real(of[3][k]) : 0;
            const Real factor = c.has_dy ? real(of[6][k]) * real(of[6][k]) : g,
                       rest = has_residual ? real(residual[p]) : 0;
            const Real value = (scaled + shift + of_dy) * factor + b, v = activated(value + rest, activation);
            const Real d = real(x[p]) * real(of[4][k]) - real(of[0][k]);
            param_sums[per_lane ? lane : line].add(real(dy[p]),
                                                   real(dy[p]) * (d * real(slope[k]) + real(level[k])));
            const Real terms =
                (std::fabs(scaled) + std::fabs(shift) + std::fabs(of_dy)) * std::fabs(factor) + std::fabs(b);
            // At most 7 roundings in the statistic type; then it is rounded, added, and leaky.
            expect_near("out", places[i], a.out[p], v,
                        7 * kUnit<T> * terms + kUnit<C> * (4 * std::fabs(value) + 3 * std::fabs(rest)) +
                            2 * stored<S>(v));
          }
          for (Index p = 0; p < size; ++p)
            if (!written[at(p)]) expect_same("a gap of out", p, a.out[p], S(7));
          for (Index i = 0; adds && i < sums; ++i) {
            // A rounding a term and one a sum, of at most n or 6 terms; of their sizes, since they cancel.
            const Real terms = (n + 10) * kUnit<T>, before = real(sums_before[at(i)]);
            expect_near("grad_beta", i, a.grad_beta[i], before + param_sums[at(i)].first,
                        terms * (std::fabs(before) + param_sums[at(i)].first_size));
            expect_near("grad_gamma", i, a.grad_gamma[i], before + param_sums[at(i)].second,
                        terms * (std::fabs(before) + 16 * param_sums[at(i)].second_size));
          }
        }
      });
}

/// values, and before them so many that are 9.
template <typename S>
std::vector<S> shifted(const std::vector<S>& values, Index by) {
  std::vector<S> all(at(by), S(9));
  all.insert(all.end(), values.begin(), values.end());
  return all;
}

template <typename S>
void test_infer_wide_lanes() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "infer_wide_lanes", sizes_to(130),
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        for (const bool is_shared : {false, true}) {
          for (const detail::Activation<C>& activation : activations<C>()) {
            const bool has_residual = is_active(activation) != is_shared;
            const std::vector<S> x = numbers<S>(n, 1, 2, 1), residual = numbers<S>(n, 0, 1, 2);
            std::vector<T> terms[3];
            for (unsigned j = 0; j < 3; ++j) {
              terms[j] = numbers<T>(n, j == 0 ? 3 : 1, 0.5, 3 + j);
              const T first = terms[j][0];
              if (is_shared) terms[j].assign(at(detail::kPadding), first);
            }
            const T scale(detail::kHasRoom<C> ? 1 : 0.5);
            Call call(place, text + (is_shared ? ", shared" : "") + (has_residual ? ", residual" : "") +
                                 (is_active(activation) ? ", activation" : ""));
            detail::InferWide<S> a{};
            a.x = call.in(x);
            a.out = call.out<S>(n);
            a.n = n;
            a.center = call.in(is_shared ? terms[0] : with_room(terms[0]));
            a.slope = call.in(is_shared ? terms[1] : with_room(terms[1]));
            a.level = call.in(is_shared ? terms[2] : with_room(terms[2]));
            a.is_shared = is_shared;
            a.x_scale = scale;
            // The epilogue's arrays begin five elements before.
            a.epilogue = {nullptr, nullptr, activation};
            a.at = 5;
            if (has_residual) a.epilogue.residual = call.in(shifted(residual, 5));
            if (has_residual || is_active(activation)) a.apply_epilogue = set.kernels.apply_epilogue();
            set.kernels.infer_wide_lanes()(a);
            for (Index i = 0; i < n; ++i) {
              const std::size_t k = is_shared ? 0 : at(i);
              const Real scaled = (real(x[at(i)]) * real(scale) - real(terms[0][k])) * real(terms[1][k]),
                         value = scaled + real(terms[2][k]), rest = has_residual ? real(residual[at(i)]) : 0,
                         v = activated(value + rest, activation);
              // At most 4 roundings in the statistic type; then it is rounded, added, and leaky.
              expect_near("out", i, a.out[i], v,
                          4 * kUnit<T> * (std::fabs(scaled) + std::fabs(real(terms[2][k]))) +
                              kUnit<C> * (4 * std::fabs(value) + 3 * std::fabs(rest)) + 2 * stored<S>(v));
            }
          }
        }
      });
}

// Small numbers of sets and cells. What lies in their arrays' room is NaN.

template <typename S>
void test_finish_sums() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "finish_sums", sizes_to(70),
      [&](const InstructionSet<S>& set, Index sets, const Place& place, const std::string& text) {
        for (const int kind : {0, 1, 2, 3, 4}) {
          const Index hard = (sets * 7 + 3) % sets;
          const T n(9), epsilon(kind == 4 ? 0 : 1e-5);
          const std::vector<C> pivots = numbers<C>(sets, 1000, 10, 1);
          std::vector<T> first = numbers<T>(sets, 0, 1, 2), second = numbers<T>(sets, 20, 1, 3);
          if (kind == 1) first[at(hard)] = T(12.5);  // second <= 25 < 2 first^2 / n
          if (kind == 2) second[at(hard)] = T(std::is_same_v<S, double> ? 1e250 : 1e35);
          if (kind == 3) second[at(hard)] = std::numeric_limits<T>::quiet_NaN();
          if (kind == 4) first[at(hard)] = second[at(hard)] = T(0);
          Call call(place, text + ", kind " + std::to_string(kind));
          T *mean = call.out_with_room<T>(sets), *mean_low = call.out_with_room<T>(sets),
            *variance = call.out_with_room<T>(sets), *inv_std = call.out_with_room<T>(sets);
          const unsigned seen = set.kernels.finish_sums()(
              {sets, n, epsilon, call.in_with_room(pivots), call.in_with_room(first),
               call.in_with_room(second), mean, mean_low, variance, inv_std});
          EXPECT_EQ((seen & detail::kPoorPivot) != 0, kind == 1) << Call::what();
          EXPECT_EQ((seen & detail::kOutOfRange) != 0, kind >= 2) << Call::what();
          for (Index k = 0; k < sets; ++k) {
            const Real u = kUnit<T>, shift = real(first[at(k)]) / real(n),
                       squares = real(second[at(k)]) / real(n);
            const Real expected = real(pivots[at(k)]) + shift;
            // 1 / n and its product; the sum with the pivot is in two parts, if the statistic type is no wider.
            const Real rounded = std::is_same_v<C, T> ? 0x1p-64L : u;
            expect_near("mean + mean_low", k, real(mean[k]) + real(mean_low[k]), expected,
                        2 * u * std::fabs(shift) + rounded * std::fabs(expected));
            expect_near("mean", k, mean[k], expected, u * std::fabs(expected) + 2 * u * std::fabs(shift));
            if (k == hard && kind == 3) {
              EXPECT_TRUE(std::isnan(variance[k]) && std::isnan(inv_std[k])) << Call::what();
              continue;
            }
            // 1 / n twice, three products, a difference.
            expect_near("variance", k, variance[k], squares - shift * shift,
                        5 * u * (squares + shift * shift));
            // A sum, a root, a quotient.
            const Real root = std::sqrt(real(variance[k]) + real(epsilon));
            expect_near("inv_std", k, inv_std[k], root == 0 ? 0 : 1 / root, root == 0 ? 0 : 3 * u / root);
          }
        }
      });
}

template <typename S>
void test_finish_gradients() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "finish_gradients", sizes_to(70),
      [&](const InstructionSet<S>& set, Index cells, const Place& place, const std::string& text) {
        for (const int params : {0, 1, 2}) {
          std::vector<T> mean, mean_low = numbers<T>(cells, 0, 0x1p-40, 2);
          for (Index k = 0; k < cells; ++k)
            mean.push_back(static_cast<T>(numbers<C>(cells, 3, 1, 1)[at(k)]) +
                           numbers<T>(cells, 0, 0x1p-26, 3)[at(k)]);
          const std::vector<T> inv_std = numbers<T>(cells, 2, 0.1, 4), dy = numbers<T>(cells, 100, 30, 5),
                               dy_x = numbers<T>(cells, 0, 1, 6);
          const std::vector<C> gamma = numbers<C>(params == 2 ? 1 : cells, 1, 0.5, 8);
          Call call(place, text + (params == 0 ? "" : params == 1 ? ", gammas" : ", one gamma"));
          T *xhat = call.out(dy_x), *weighted = call.out_with_room<T>(cells),
            *weighted_xhat = call.out_with_room<T>(cells);
          EXPECT_EQ(set.kernels.finish_gradients()({cells, T(9), call.in_with_room(mean),
                                                    call.in_with_room(mean_low), call.in_with_room(inv_std),
                                                    data_or_null(call, params > 0, gamma), call.in(dy), xhat,
                                                    weighted, weighted_xhat, params == 2}),
                    0u);
          for (Index k = 0; k < cells; ++k) {
            const std::size_t i = at(k);
            const Real difference = real(mean[i]) - real(static_cast<C>(mean[i])),
                       of_low = (difference + real(mean_low[i])) * real(dy[i]),
                       gamma_of_k = params == 0 ? 1 : real(gamma[params == 2 ? 0 : i]),
                       expected = real(inv_std[i]) * (real(dy_x[i]) - of_low);
            // A difference and a sum, of numbers of one sign or another, a product, a difference, a product.
            const Real size = std::fabs(real(dy_x[i])) +
                              (std::fabs(difference) + std::fabs(real(mean_low[i]))) * std::fabs(real(dy[i])),
                       bound = 5 * kUnit<T> * real(inv_std[i]) * size;
            expect_near("sum_dy_xhat", k, xhat[k], expected, bound);
            expect_near("weighted_dy", k, weighted[k], gamma_of_k * real(dy[i]),
                        kUnit<T> * std::fabs(gamma_of_k * real(dy[i])));
            expect_near("weighted_dy_xhat", k, weighted_xhat[k], gamma_of_k * expected,
                        2 * std::fabs(gamma_of_k) * bound);
          }
        }
        // A sum that its type cannot square, 1 / std of a set that it cannot, and a gamma that makes a sum such a one.
        const T large = static_cast<T>((std::numeric_limits<C>::max)());
        for (const int which : {0, 1, 2}) {
          std::vector<T> zeros(at(cells), T(0)), sum(at(cells), T(1)), inv_std(at(cells), T(1));
          std::vector<C> gamma(at(cells), C(1));
          if (which == 0) sum.back() = large;
          if (which == 1) inv_std.back() = large;
          if (which == 2) gamma.back() = static_cast<C>(large);
          Call call(place, text + ", out of range " + std::to_string(which));
          EXPECT_EQ(set.kernels.finish_gradients()(
                        {cells, T(9), call.in_with_room(zeros), call.in_with_room(zeros),
                         call.in_with_room(inv_std), call.in(gamma), call.in(sum), call.out(zeros),
                         call.out_with_room<T>(cells), call.out_with_room<T>(cells), false}),
                    unsigned{detail::kOutOfRange});
        }
      });
}
template <typename S>
void test_coefficients() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "coefficients", sizes_to(70),
      [&](const InstructionSet<S>& set, Index cells, const Place& place, const std::string& text) {
        for (const bool has_dy : {false, true})
          for (const int params : {0, 1, 2, 3}) {
            const bool of_one_param = params == 3;
            const T n(9);
            const std::vector<T> mean = numbers<T>(cells, 1000, 1, 1),
                                 mean_low = numbers<T>(cells, 0, 0x1p-50, 2),
                                 inv_std = numbers<T>(cells, 2, 0.1, 3), dy = numbers<T>(cells, 3, 1, 4),
                                 dy_xhat = numbers<T>(cells, 1, 1, 5);
            const std::vector<C> gamma = numbers<C>(cells, 1, 0.5, 6), beta = numbers<C>(cells, 0, 1, 7);
            Call call(place, text + (has_dy ? ", dy" : "") + (params > 0 ? ", gamma" : "") +
                                 (params > 1 ? ", beta" : "") + (of_one_param ? ", of one parameter" : ""));
            C* c[4] = {call.out_with_room<C>(cells), call.out_with_room<C>(cells),
                       call.out_with_room<C>(cells), has_dy ? call.out_with_room<C>(cells) : nullptr};
            set.kernels.coefficients()({cells,
                                        n,
                                        call.in_with_room(mean),
                                        call.in_with_room(mean_low),
                                        call.in_with_room(inv_std),
                                        params > 0 ? call.in_with_room(gamma) : nullptr,
                                        params > 1 && !has_dy ? call.in_with_room(beta) : nullptr,
                                        has_dy ? call.in_with_room(dy) : nullptr,
                                        has_dy ? call.in_with_room(dy_xhat) : nullptr,
                                        {c[0], c[1], c[2], c[3]},
                                        of_one_param});
            for (Index k = 0; k < cells; ++k) {
              const std::size_t i = at(k), of_params = of_one_param ? 0 : i;
              const Real g = params > 0 ? real(gamma[of_params]) : 1,
                         b = params > 1 ? real(beta[of_params]) : 0, s = real(inv_std[i]);
              const Real low = real(mean[i]) - real(static_cast<C>(mean[i])) + real(mean_low[i]);
              const Real u = kUnit<T>, round = kUnit<C>;
              expect_same("c0", k, c[0][k], static_cast<C>(mean[i]));
              if (!has_dy) {
                expect_near("c1", k, c[1][k], s * g, (round + u) * 2 * std::fabs(s * g));
                const Real c2 = b - low * s * g;
                expect_near("c2", k, c[2][k], c2,
                            round * std::fabs(c2) + 4 * u * (std::fabs(b) + std::fabs(low * s * g)));
              } else {
                const Real c1 = -s * s * real(dy_xhat[i]) / real(n), level = -s * real(dy[i]) / real(n),
                           c2 = level - low * c1;
                // 1 / n, two or three products, two sums; then rounded.
                expect_near("c1", k, c[1][k], c1, (round + 4 * u) * std::fabs(c1));
                expect_near("c2", k, c[2][k], c2,
                            round * std::fabs(c2) + 8 * u * (std::fabs(level) + std::fabs(low * c1)));
                expect_near("c3", k, c[3][k], s * g, (round + u) * 2 * std::fabs(s * g));
              }
            }
          }
      });
}

template <typename S>
void test_inference_coefficients() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "inference_coefficients", sizes_to(70),
      [&](const InstructionSet<S>& set, Index cells, const Place& place, const std::string& text) {
        for (const int params : {0, 1, 2, 3, 4, 5}) {
          const T epsilon(params == 3 ? 0 : 1e-5);
          const bool has_low = params > 3;
          const std::vector<C> mean = numbers<C>(cells, 1000, 1, 1), gamma = numbers<C>(cells, 1, 0.5, 3),
                               beta = numbers<C>(cells, 0, 1, 4);
          std::vector<C> variance = numbers<C>(cells, 4, 0.5, 2);
          if (params == 3) variance[0] = C(0);  // without an epsilon: y is beta
          const std::vector<C> low = numbers<C>(cells, 0, 1e-5, 6);
          std::vector<C> high = mean;
          if (params == 5) high[at(cells / 2)] += C(1);  // which was assigned
          Call call(place, text + (params > 0 ? ", gamma" : "") + (params > 1 ? ", beta" : ""));
          C* c[3] = {call.out_with_room<C>(cells), call.out_with_room<C>(cells),
                     call.out_with_room<C>(cells)};
          set.kernels.inference_coefficients()(
              {cells,
               epsilon,
               {call.in(mean), call.in(variance), data_or_null(call, has_low, high),
                data_or_null(call, has_low, low)},
               data_or_null(call, params > 0, gamma),
               data_or_null(call, params > 1, beta),
               {c[0], c[1], c[2]}});
          for (Index k = 0; k < cells; ++k) {
            const std::size_t i = at(k);
            const Real root = std::sqrt(real(variance[i]) + real(epsilon));
            const Real scale = root == 0 ? 0 : (params > 0 ? real(gamma[i]) : 1) / root;
            expect_same("c0", k, c[0][k], mean[i]);
            expect_near("c1", k, c[1][k], scale, (kUnit<C> + 4 * kUnit<T>)*std::fabs(scale));
            const C b = params > 1 ? beta[i] : C(0);
            if (std::is_same_v<C, float> && has_low && high[i] == mean[i]) {
              const Real c2 = real(b) - real(low[i]) * scale;
              expect_near("c2", k, c[2][k], c2,
                          kUnit<C> * (std::fabs(c2) + 3 * std::fabs(real(low[i]) * scale)));
            } else {
              expect_same("c2", k, c[2][k], b);
            }
          }
        }
      });
}

/// A few rows, and rows with a gap after each.
std::vector<Columns> few_rows_of(Index lanes) {
  std::vector<Columns> all = {{3, lanes + 5, lanes}};
  for (Index rows = 1; rows <= 5; ++rows) all.push_back({rows, lanes, lanes});
  return all;
}

/// The arguments of inference, and what it should write.
template <typename S>
struct Inference {
  using C = ComputeOf<S>;
  Columns columns;
  bool has_gamma, has_beta, in_place;
  StatisticOf<S> epsilon = StatisticOf<S>(1e-5);
  std::vector<S> x = columns_values<S>(columns, 3, 1);
  std::vector<C> mean = numbers<C>(columns.lanes, 3, 0.1, 2), variance = numbers<C>(columns.lanes, 4, 0.5, 3),
                 gamma = numbers<C>(columns.lanes, 1, 0.5, 4), beta = numbers<C>(columns.lanes, 0, 1, 5),
                 high = {}, low = {};

  /// That the kernel writes the first `expected` lanes and nothing else.
  void expect_written(const InstructionSet<S>& set, const Place& place, const std::string& text,
                      Index expected) const {
    Call call(place, text + columns_text(columns) + (has_gamma ? ", gamma" : "") +
                         (has_beta ? ", beta" : "") + (in_place ? ", in place" : ""));
    S* out = in_place ? call.out(x) : call.out<S>(columns.size());
    const std::vector<S> before(out, out + x.size());
    const Index written = set.kernels.infer_columns()(
        {in_place ? out : call.in(x),
         out,
         columns.rows,
         columns.stride,
         columns.lanes,
         epsilon,
         {call.in(mean), call.in(variance), data_or_null(call, !high.empty(), high),
          data_or_null(call, !low.empty(), low)},
         data_or_null(call, has_gamma, gamma),
         data_or_null(call, has_beta, beta)});
    EXPECT_EQ(written, expected) << Call::what();
    for (Index i = 0; i < columns.size(); ++i) {
      const std::size_t lane = at(i % columns.stride);
      if (static_cast<Index>(lane) >= expected) {
        expect_same("what is not to be written", i, out[i], before[at(i)]);
        continue;
      }
      const Real root = std::sqrt(real(variance[lane]) + real(epsilon));
      const Real scale = root == 0 ? 0 : (has_gamma ? real(gamma[lane]) : 1) / root,
                 b = has_beta ? real(beta[lane]) : 0;
      const bool has_low = std::is_same_v<C, float> && !high.empty() && high[lane] == mean[lane];
      const Real lost = has_low ? real(low[lane]) * scale : 0;
      const Real scaled = (real(x[at(i)]) - real(mean[lane])) * scale, right = scaled + b - lost;
      // A difference, a scale of a sum, a root and a quotient that is rounded, a product and a sum; a product and a sum
      // for the constant.
      expect_near("out", i, out[i], right,
                  7 * kUnit<C> * (std::fabs(scaled) + std::fabs(b) + std::fabs(lost)) + 2 * stored<S>(right));
    }
  }
};

template <typename S>
void test_infer_columns() {
  using C = ComputeOf<S>;
  for_each_call<S>(
      "infer_columns", sizes_to(70),
      [&](const InstructionSet<S>& set, Index lanes, const Place& place, const std::string& text) {
        for (const Columns& columns : few_rows_of(lanes))
          for (const bool has_gamma : {false, true})
            for (const bool has_beta : {false, true})
              for (const bool in_place : {false, true}) {
                Inference<S> inference{columns, has_gamma, has_beta, in_place};
                inference.expect_written(set, place, text, lanes);
                inference.epsilon = 0;
                inference.variance[at(lanes / 2)] = C(0);  // y is beta
                inference.expect_written(set, place, text + ", no epsilon", lanes);
              }
      });
}

template <typename S>
void test_infer_columns_of_kept_digits() {
  using C = ComputeOf<S>;
  for_each_call<S>(
      "infer_columns", sizes_to(70),
      [&](const InstructionSet<S>& set, Index lanes, const Place& place, const std::string& text) {
        for (const Columns& columns : few_rows_of(lanes))
          for (const bool has_params : {false, true}) {
            Inference<S> inference{columns, has_params, has_params, !has_params};
            inference.high = inference.mean;
            inference.high[at(lanes / 3)] += C(1);  // whose mean was assigned
            inference.low = numbers<C>(lanes, 0, 0.01, 6);
            inference.expect_written(set, place, text + ", low digits", lanes);
          }
      });
}

/// What is no variance, or -0.
template <typename C>
std::vector<C> no_variances() {
  using Limits = std::numeric_limits<C>;
  return {C(-1),
          -Limits::denorm_min(),
          Limits::lowest(),
          Limits::infinity(),
          -Limits::infinity(),
          Limits::quiet_NaN(),
          -Limits::quiet_NaN(),
          -C(0)};
}

template <typename S>
void test_refused_variances() {
  using C = ComputeOf<S>;
  for_each_call<S>(
      "check_variances", sizes_to(70),
      [&](const InstructionSet<S>& set, Index lanes, const Place& place, const std::string& text) {
        std::vector<C> right = numbers<C>(lanes, 4, 0.5, 3);
        right[0] = C(0);
        right[at(lanes - 1)] = std::numeric_limits<C>::max();
        right[at(lanes / 2)] = std::numeric_limits<C>::denorm_min();
        Call call(place, text);
        EXPECT_EQ(set.kernels.check_variances()({call.in(right), lanes}), 0U) << Call::what();
        for (const C wrong : no_variances<C>())
          for (const Index where : {Index(0), lanes / 3, lanes - 1}) {
            Inference<S> inference{Columns{2, lanes, lanes}, true, true, true};
            inference.variance[at(where)] = wrong;
            if (wrong == C(0) && set.lanes == 1) continue;  // which is right
            EXPECT_EQ(set.kernels.check_variances()({call.in(inference.variance), lanes}), 1U)
                << Call::what() << ": " << wrong << " at " << where;
            inference.expect_written(set, place, text + ", no variance", -1);
          }
      });
}

/// Running statistics before a call, and the batch's.
template <typename C, typename T>
struct Statistic {
  std::vector<C> values, high, low;
  std::vector<T> batch;

  Statistic(Index channels, double mean, unsigned seed)
      : values(numbers<C>(channels, mean, 1, seed)),
        high(values),
        low(numbers<C>(channels, 0, 1e-8, seed + 1)),
        batch(numbers<T>(channels, mean, 1, seed + 2)) {
    high[at(channels / 3)] += C(1);  // whose value was assigned
  }
  bool is_kept(std::size_t c) const { return std::is_same_v<C, float> && high[c] == values[c]; }
  Real old(std::size_t c) const { return real(values[c]) + (is_kept(c) ? real(low[c]) : 0); }
};

template <typename S>
void expect_moved(const InstructionSet<S>& set, const Place& place, const std::string& text, Index channels,
                  double weight, const Statistic<ComputeOf<S>, StatisticOf<S>>& mean,
                  const Statistic<ComputeOf<S>, StatisticOf<S>>& variance, Index hard) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  constexpr bool kHasLow = std::is_same_v<C, float>;
  constexpr double kUnbias = 1.25;
  Call call(place, text);
  struct Out {
    C *values, *high, *low;
  } out[2];
  const Statistic<C, T>* statistics[] = {&mean, &variance};
  for (int k = 0; k < 2; ++k)
    out[k] = {call.out(statistics[k]->values), kHasLow ? call.out(statistics[k]->high) : nullptr,
              kHasLow ? call.out(statistics[k]->low) : nullptr};
  const Index moved = set.kernels.move_statistics()({channels,
                                                     call.in(mean.batch),
                                                     call.in(variance.batch),
                                                     T(kUnbias),
                                                     static_cast<T>(weight),
                                                     {out[0].values, out[0].high, out[0].low},
                                                     {out[1].values, out[1].high, out[1].low}});
  const Index lanes = set.lanes, expected = hard < 0 ? channels : hard / lanes * lanes;
  EXPECT_EQ(moved, expected) << Call::what();
  for (int k = 0; k < 2; ++k) {
    const Statistic<C, T>& s = *statistics[k];
    for (Index i = 0; i < channels; ++i) {
      const std::size_t c = at(i);
      if (i >= expected) {
        expect_same("what is not to be written", i, out[k].values[c], s.values[c]);
        continue;
      }
      const Real batch = real(s.batch[c]) * (k == 1 ? kUnbias : 1), old = weight == 1 ? 0 : s.old(c);
      const Real right = (1 - real(static_cast<T>(weight))) * old + real(static_cast<T>(weight)) * batch;
      const Real size = std::fabs(old) + std::fabs(batch);
      // In the statistic type: what is kept of 1, the batch's variance, two products and their sum.
      const Real in_t = 5 * kUnit<T> * size;
      expect_near("running", i, out[k].values[c], right, kUnit<C> * std::fabs(right) + in_t);
      if (!kHasLow) continue;
      expect_same("high", i, out[k].high[c], out[k].values[c]);
      expect_near("high + low", i, real(out[k].values[c]) + real(out[k].low[c]), right,
                  kUnit<C> * kUnit<C> * std::fabs(right) + in_t);
    }
  }
}

template <typename S>
void test_move_statistics() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using Limits = std::numeric_limits<C>;
  for_each_call<S>(
      "move_statistics", sizes_to(70),
      [&](const InstructionSet<S>& set, Index channels, const Place& place, const std::string& text) {
        for (const double weight : {0.1, 0.0, 1.0}) {
          Statistic<C, T> mean(channels, 0, 1), variance(channels, 9, 4);
          if (weight == 1) mean.values[0] = variance.values[0] = Limits::quiet_NaN();
          expect_moved<S>(set, place, text, channels, weight, mean, variance, -1);
          for (const Index hard : {Index(0), channels / 3, channels - 1}) {
            for (const double value : {std::numeric_limits<double>::infinity(), std::nan("")}) {
              Statistic<C, T> no_mean = mean, no_variance = variance;
              no_mean.batch[at(hard)] = static_cast<T>(value);
              no_variance.batch[at(hard)] = static_cast<T>(value);
              expect_moved<S>(set, place, text + ", no mean", channels, weight, no_mean, variance, hard);
              expect_moved<S>(set, place, text + ", no variance", channels, weight, mean, no_variance, hard);
            }
            if (weight == 1) continue;
            Statistic<C, T> assigned = mean;
            assigned.values[at(hard)] = -Limits::infinity();
            expect_moved<S>(set, place, text + ", infinite before", channels, weight, assigned, variance,
                            hard);
          }
        }
      });
}

template <typename S>
void test_infer_columns_outside() {
  using C = ComputeOf<S>;
  constexpr bool kIsDouble = std::is_same_v<C, double>;
  for_each_call<S>(
      "infer_columns", sizes_to(70),
      [&](const InstructionSet<S>& set, Index lanes, const Place& place, const std::string& text) {
        for (const Columns& columns : few_rows_of(lanes))
          for (const Index hard : {Index(0), lanes / 3, lanes - 1})
            for (const bool in_place : {false, true}) {
              Inference<S> far{columns, hard % 2 == 0, true, in_place};
              far.mean[at(hard)] = static_cast<C>(kIsDouble ? -0x1p1001 : 0x1p101);
              far.expect_written(set, place, text + ", a far mean", hard);
              Inference<S> steep{columns, kIsDouble || hard % 3 > 0, hard % 2 == 0, in_place};
              steep.epsilon = 1e-300;
              steep.variance[at(hard)] = C(0);
              steep.gamma[at(hard)] = static_cast<C>(kIsDouble ? 1e200 : 1);
              steep.expect_written(set, place, text + ", an infinite scale", hard);
            }
      });
}

template <typename S>
void test_spread_and_fold() {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  for_each_call<S>(
      "spread, fold and sum_blocks", sizes_to(130),
      [&](const InstructionSet<S>& set, Index n, const Place& place, const std::string& text) {
        for (const Index cells : {1, 2, 5, 17}) {
          const std::vector<C> from = numbers<C>(cells, 1, 1, 1);
          const std::vector<T> values = numbers<T>(cells * n, 1, 1, 2);
          Call call(place, text + ", " + std::to_string(cells) + " cells");
          C* spread = call.out_with_room<C>(cells * n);
          set.kernels.spread()({call.in_with_room(from), cells, n, spread});
          for (Index k = 0; k < cells; ++k)
            for (Index i = 0; i < n; ++i) expect_same("spread", k * n + i, spread[k * n + i], from[at(k)]);

          T* folded = call.out_with_room<T>(cells);
          set.kernels.fold()({call.in_with_room(values), cells, n, folded});
          for (Index k = 0; k < cells; ++k) {
            Sums sums;
            for (Index i = 0; i < n; ++i) sums.add(real(values[at(k * n + i)]), 0);
            expect_near("fold", k, folded[k], sums.first, static_cast<Real>(n) * kUnit<T> * sums.first_size);
          }

          // Blocks with a gap after each; no array has room for more.
          const Columns blocks{cells, n + 2, n};
          const std::vector<T> of_blocks = numbers<T>(blocks.size(), 1, 1, 3);
          C* totals = call.out<C>(n);
          set.kernels.sum_blocks()({call.in(of_blocks), n, cells, n + 2, totals});
          for (Index i = 0; i < n; ++i) {
            Sums sums;
            for (Index b = 0; b < cells; ++b) sums.add(real(of_blocks[at(b * (n + 2) + i)]), 0);
            expect_near(
                "sum_blocks", i, totals[i], sums.first,
                kUnit<C> * std::fabs(sums.first) + static_cast<Real>(cells) * kUnit<T> * sums.first_size);
          }
        }
      });
}

// What is streamed, and what lies at another offset, has the same bits.
template <typename S>
void test_same_bits_wherever() {
  using C = ComputeOf<S>;
  for_each_call<S>(
      "maps at every offset", {16, 31, 32, 33, 47, 64, 65, 97, 129},
      [&](const InstructionSet<S>& set, Index n, const Place&, const std::string& text) {
        const std::vector<S> x = numbers<S>(3 * n, 3, 1, 1), dy = numbers<S>(3 * n, 0.5, 1, 2);
        const std::vector<C> c = going_on(numbers<C>(n, 1, 0.5, 3), Columns{3, n, n});
        std::vector<S> expected[3];
        for (const bool stream : {false, true})
          for (int offset = 0; offset < 64; offset += static_cast<int>(sizeof(S))) {
            Call call(Place::begin().at(offset), text + ", offset " + std::to_string(offset));
            const S *in_x = call.in(x), *in_dy = call.in(dy);
            const C* in_c = call.in(c);
            S* outs[3] = {call.out<S>(3 * n), call.out<S>(3 * n), call.out<S>(3 * n)};
            set.kernels.map_gradients_of_lines()({in_x,
                                                  in_dy,
                                                  outs[0],
                                                  call.in(std::vector<Index>{0}),
                                                  1,
                                                  {1, 0, 1, 0, 3 * n},
                                                  0,
                                                  3 * n,
                                                  {in_c, in_c, in_c, in_c},
                                                  0,
                                                  stream,
                                                  {}});
            set.kernels.map_gradients_of_columns()(
                {in_x, in_dy, outs[1], nullptr, nullptr, 3, n, n, {in_c, in_c, in_c, in_c}, 0, stream, {}});
            detail::NormalizeRows<S> rows{};
            unsigned char outside[3];
            rows.x = in_x;
            rows.y = outs[2];
            rows.rows = 3;
            rows.n = rows.stride = n;
            rows.gamma = rows.beta = in_c;
            rows.epsilon = 1;
            rows.outside = outside;
            rows.stream = stream;
            set.kernels.normalize_rows()(rows);
            for (int i = 0; i < 3; ++i) {
              const std::vector<S> got(outs[i], outs[i] + 3 * n);
              if (expected[i].empty()) expected[i] = got;
              EXPECT_TRUE(same_bytes(got, expected[i])) << i << ", " << Call::what();
            }
          }
      });
}

template <typename S>
class Kernels : public ::testing::Test {};
using Scalars = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Kernels, Scalars, );

TYPED_TEST(Kernels, SumLines) { test_sum_lines<TypeParam>(); }
TYPED_TEST(Kernels, MapLines) { test_map_lines<TypeParam>(); }
TYPED_TEST(Kernels, PivotLines) { test_pivot_lines<TypeParam>(); }
TYPED_TEST(Kernels, SumColumns) { test_sum_columns<TypeParam>(); }
TYPED_TEST(Kernels, MapColumns) { test_map_columns<TypeParam>(); }
TYPED_TEST(Kernels, PivotColumns) { test_pivot_columns<TypeParam>(); }
TYPED_TEST(Kernels, SumParams) { test_sum_params<TypeParam>(); }
TYPED_TEST(Kernels, NormalizeRows) { test_normalize_rows<TypeParam>(); }
TYPED_TEST(Kernels, AddRows) { test_add_rows<TypeParam>(); }
TYPED_TEST(Kernels, NormalizeRowsOutside) { test_rows_outside<TypeParam>(); }
TYPED_TEST(Kernels, RowGradients) { test_row_gradients<TypeParam>(gradient_cases, 2100); }
TYPED_TEST(Kernels, RowGradientsOutside) { test_gradients_outside<TypeParam>(); }
TYPED_TEST(Kernels, SumWide) { test_sum_wide<TypeParam>(false); }
TYPED_TEST(Kernels, MapWide) { test_map_wide<TypeParam>(); }
TYPED_TEST(Kernels, InferWideLanes) { test_infer_wide_lanes<TypeParam>(); }
TYPED_TEST(Kernels, FinishSums) { test_finish_sums<TypeParam>(); }
TYPED_TEST(Kernels, FinishGradients) { test_finish_gradients<TypeParam>(); }
TYPED_TEST(Kernels, Coefficients) { test_coefficients<TypeParam>(); }
TYPED_TEST(Kernels, InferenceCoefficients) { test_inference_coefficients<TypeParam>(); }
TYPED_TEST(Kernels, InferColumns) { test_infer_columns<TypeParam>(); }
TYPED_TEST(Kernels, InferColumnsOfKeptDigits) { test_infer_columns_of_kept_digits<TypeParam>(); }
TYPED_TEST(Kernels, RefuseWhatIsNoVariance) { test_refused_variances<TypeParam>(); }
TYPED_TEST(Kernels, MoveStatistics) { test_move_statistics<TypeParam>(); }
TYPED_TEST(Kernels, InferColumnsStopsOutside) { test_infer_columns_outside<TypeParam>(); }
TYPED_TEST(Kernels, SpreadAndFold) { test_spread_and_fold<TypeParam>(); }
TYPED_TEST(Kernels, SameBitsWherever) { test_same_bits_wherever<TypeParam>(); }

TEST(KernelsOfHalf, MapLines) { test_map_lines<Eigen::half>(); }
TEST(KernelsOfHalf, AddRows) { test_add_rows<Eigen::half>(); }
TEST(KernelsOfHalf, NormalizeRows) { test_normalize_rows<Eigen::half>(); }
TEST(KernelsOfHalf, InferColumns) { test_infer_columns<Eigen::half>(); }
TEST(KernelsOfHalf, InferColumnsOfKeptDigits) { test_infer_columns_of_kept_digits<Eigen::half>(); }
TEST(KernelsOfBfloat16, MapLines) { test_map_lines<Eigen::bfloat16>(); }
TEST(KernelsOfBfloat16, RowGradients) { test_row_gradients<Eigen::bfloat16>(gradient_cases, 130); }

TYPED_TEST(Kernels, SumWideOfMaskedNan) { test_sum_wide<TypeParam>(true); }
std::vector<GradientCase> cases_of_plus(Index n) {
  return {{3, n, false, true, true, true, false, false, true},
          {9, n + 3, true, true, false, true, true, false, true}};
}
TYPED_TEST(Kernels, RowGradientsPlus) { test_row_gradients<TypeParam>(cases_of_plus, 530); }

}  // namespace
}  // namespace ek_test
