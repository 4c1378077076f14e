// Activations and slopes of one vector, for the instruction set that activations_test.cpp includes this for.

template <typename C>
struct Curves {
  static constexpr Index kCount = kLanes<C>;

  static void values(Curve kind, const C* z, C* y) { store(y, Vec<C>(curve<C>(kind, load(z)))); }
  static void slopes(Curve kind, const C* z, C* slope) { store(slope, Vec<C>(curve_slope<C>(kind, load(z)))); }
};
