// Recurrent layers: against the formulas in long double, the same bits on every instruction set and
// number of threads, in slices of the batch and of the sequence, and numbers near zero.
#include "nnext/recurrent.h"

#include <functional>

#include "recorded.h"
#include "support.h"

namespace nnext::test {
namespace {

enum class Kind { kRnn, kLstm, kGru, kGruAfter };
constexpr Kind kKinds[] = {Kind::kRnn, Kind::kLstm, Kind::kGru, Kind::kGruAfter};

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kRnn:
      return "rnn";
    case Kind::kLstm:
      return "lstm";
    case Kind::kGru:
      return "gru";
    case Kind::kGruAfter:
      return "gru, reset after,";
  }
  return "";
}
index_t gates_of(Kind kind) { return kind == Kind::kRnn ? 1 : kind == Kind::kLstm ? 4 : 3; }
index_t biases_of(Kind kind) { return kind == Kind::kGruAfter ? 4 : gates_of(kind); }

// A layer with a batch, and room for all results.
template <class T>
struct Layer {
  Layer(Kind kind_, const RecurrentSizes& sizes_)
      : kind(kind_),
        sizes(sizes_),
        x(drawn_array<T>(n() * d(), 6)),
        wx(drawn_array<T>(d() * g() * h(), 1)),
        wh(drawn_array<T>(h() * g() * h(), 2, T{0.25})),
        b(drawn_array<T>(biases_of(kind) * h(), 3)),
        h0(drawn_array<T>(sizes.batch * h(), 4)),
        c0(drawn_array<T>(sizes.batch * h(), 5)),
        dout(drawn_array<T>(n() * h(), 7)),
        hs(n() * h()),
        previous(n() * h()),
        last(sizes.batch * h()),
        gates(n() * g() * h()),
        cells((n() + sizes.batch) * h()),
        rest(n() * h()),
        dsums(n() * g() * h()),
        packed_wh(packed_wh_size<T>(sizes, g(), Way::kBackward)),
        drest(n() * h()),
        dwx(wx.size()),
        dwh(wh.size()),
        db(b.size()),
        dx(x.size()),
        dh(h0.size()),
        dc(c0.size()) {}

  index_t n() const { return sizes.batch * sizes.steps; }
  index_t d() const { return sizes.inputs; }
  index_t h() const { return sizes.hidden; }
  index_t g() const { return gates_of(kind); }
  Reset reset() const {
    return kind == Kind::kGruAfter ? Reset::kAfterProduct : Reset::kBeforeProduct;
  }
  RecurrentWeights<T> weights() const {
    const index_t width = g() * h();
    const T* const bias = has_bias ? b.data() : nullptr;
    return {{wx.data(), d(), width, width, 1}, {wh.data(), h(), width, width, 1}, bias};
  }

  // For Wh, packed; null where it is not.
  T* room() { return has_room && packed_wh.size() > 0 ? packed_wh.data() : nullptr; }

  void forward() { forward(0, sizes.batch); }
  // Rows [row, row + rows) of the batch.
  void forward(index_t row, index_t rows) {
    const RecurrentSizes part{rows, sizes.steps, d(), h()};
    const index_t state = row * sizes.steps * h();
    const T* const given = x.data() + row * sizes.steps * d();
    const T* const first = h0.data() + row * h();
    T* const to = hs.data() + state;
    T* const before = previous.data() + state;
    T* const gate = gates.data() + g() * state;
    if (kind == Kind::kRnn) {
      rnn_forward<T>(part, given, weights(), first, room(), to, before, last.data() + row * h());
    } else if (kind == Kind::kLstm) {
      lstm_forward<T>(part, given, weights(), first, c0.data() + row * h(), room(), to, before,
                      gate, cells.data() + state + row * h(), rest.data() + state);
    } else {
      gru_forward<T>(part, reset(), given, weights(), first, room(), to, before, gate,
                     rest.data() + state);
    }
  }
  void backward() { backward(0, sizes.batch, SumInto::kOverwrite); }
  void backward(index_t row, index_t rows, SumInto into) {
    const RecurrentSizes part{rows, sizes.steps, d(), h()};
    const index_t state = row * sizes.steps * h();
    const index_t width = g() * h();
    const RecurrentScratch<T> scratch{dsums.data() + g() * state, room()};
    const RecurrentGradients<T> gradients{
        {dwx.data(), d(), width, width, 1},  {dwh.data(), h(), width, width, 1},
        has_bias ? db.data() : nullptr,      into,
        dx.data() + row * sizes.steps * d(), dh.data() + row * h()};
    const T* const given = x.data() + row * sizes.steps * d();
    const T* const before = previous.data() + state;
    const T* const gate = gates.data() + g() * state;
    const T* const d_out = dout.data() + state;
    if (kind == Kind::kRnn) {
      rnn_backward<T>(part, given, weights(), before, last.data() + row * h(), d_out, scratch,
                      gradients);
    } else if (kind == Kind::kLstm) {
      T* const d_cells = dc.data() + row * h();
      for (index_t i = 0; i < rows * h(); ++i) d_cells[i] = 0;
      lstm_backward<T>(part, given, weights(), before, gate, cells.data() + state + row * h(),
                       rest.data() + state, d_out, d_cells, scratch, gradients);
    } else {
      gru_backward<T>(part, reset(), given, weights(), before, gate, rest.data() + state, d_out,
                      drest.data() + state, scratch, gradients);
    }
  }

  // The cells after the last step.
  Array<T> last_cells() const {
    Array<T> last(c0.size());
    for (index_t row = 0; row < sizes.batch; ++row) {
      for (index_t j = 0; j < h(); ++j) {
        last[row * h() + j] = cells[((row + 1) * (sizes.steps + 1) - 1) * h() + j];
      }
    }
    return last;
  }
  std::string hash() const {
    Hash all;
    for (const auto* const array : {&hs, &dx, &dh}) all.add(*array);
    if (kind == Kind::kLstm) {
      all.add(last_cells());
      all.add(dc);
    }
    for (const auto* const array : {&dwx, &dwh, &db}) all.add(*array);
    return all.text();
  }
  std::string name() const {
    std::ostringstream out;
    out << name_of(kind) << " and backward (" << sizes.batch << ", " << sizes.steps << ", " << d()
        << ", " << h() << ") " << (sizeof(T) == 4 ? "float32" : "float64");
    return out.str();
  }
  testing::AssertionResult guards_intact() const {
    for (const auto* const array : {&hs, &previous, &last, &gates, &cells, &rest, &dsums,
                                    &packed_wh, &drest, &dwx, &dwh, &db, &dx, &dh, &dc}) {
      if (const auto result = array->guards_intact(); !result) return result;
    }
    return testing::AssertionSuccess();
  }

  Kind kind;
  RecurrentSizes sizes;
  bool has_bias = true;
  bool has_room = true;
  Array<T> x, wx, wh, b, h0, c0, dout;
  Array<T> hs, previous, last, gates, cells, rest;
  Array<T> dsums, packed_wh, drest;
  Array<T> dwx, dwh, db, dx, dh, dc;
};

using Real = long double;
Real sigmoid(Real x) { return 1 / (1 + std::exp(-x)); }

// The loss sum(hs dout), and with it the states, of weights and inputs of which one number may be
// moved: gradients are differences of it.
template <class T>
class Formulas {
 public:
  explicit Formulas(const Layer<T>& layer) : layer_(layer) {}

  // Element `at` of `array` counts as `step` more.
  Real loss(const Array<T>* array = nullptr, index_t at = 0, Real step = 0) {
    moved_ = array;
    at_ = at;
    step_ = step;
    hs_.assign(static_cast<std::size_t>(layer_.hs.size()), 0);
    Real sum = 0;
    for (index_t row = 0; row < layer_.sizes.batch; ++row) sum += loss_of_row(row);
    return sum;
  }
  Real h(index_t i) const { return hs_[static_cast<std::size_t>(i)]; }

 private:
  Real get(const Array<T>& array, index_t i) const {
    return static_cast<Real>(array[i]) + (&array == moved_ && i == at_ ? step_ : 0);
  }
  // Column j of the sums of an input and of a state, the bias apart.
  Real of_input(index_t row, index_t t, index_t j) const {
    const index_t width = layer_.g() * layer_.h();
    Real sum = 0;
    for (index_t k = 0; k < layer_.d(); ++k) {
      sum += get(layer_.x, (row * layer_.sizes.steps + t) * layer_.d() + k) *
             get(layer_.wx, k * width + j);
    }
    return sum + get(layer_.b, j);
  }
  Real of_state(const std::vector<Real>& state, index_t j) const {
    const index_t width = layer_.g() * layer_.h();
    Real sum = 0;
    for (index_t k = 0; k < layer_.h(); ++k) {
      sum += state[static_cast<std::size_t>(k)] * get(layer_.wh, k * width + j);
    }
    return sum;
  }
  Real loss_of_row(index_t row) {
    const auto width = static_cast<std::size_t>(layer_.h());
    std::vector<Real> state(width);
    std::vector<Real> cells(width);
    for (index_t j = 0; j < layer_.h(); ++j) {
      state[static_cast<std::size_t>(j)] = get(layer_.h0, row * layer_.h() + j);
      cells[static_cast<std::size_t>(j)] = get(layer_.c0, row * layer_.h() + j);
    }
    Real loss = 0;
    for (index_t t = 0; t < layer_.sizes.steps; ++t) {
      state = next(row, t, state, cells);
      for (index_t j = 0; j < layer_.h(); ++j) {
        const index_t i = (row * layer_.sizes.steps + t) * layer_.h() + j;
        hs_[static_cast<std::size_t>(i)] = state[static_cast<std::size_t>(j)];
        loss += state[static_cast<std::size_t>(j)] * static_cast<Real>(layer_.dout[i]);
      }
    }
    return loss;
  }
  std::vector<Real> next(index_t row, index_t t, const std::vector<Real>& state,
                         std::vector<Real>& cells) const {
    const index_t width = layer_.h();
    const auto a = [&](index_t j) { return of_input(row, t, j) + of_state(state, j); };
    std::vector<Real> result(state.size());
    std::vector<Real> reset_state(state.size());
    for (index_t j = 0; j < width; ++j) {
      const auto at = static_cast<std::size_t>(j);
      if (layer_.kind == Kind::kRnn) {
        result[at] = std::tanh(a(j));
      } else if (layer_.kind == Kind::kLstm) {
        cells[at] = sigmoid(a(j)) * cells[at] + std::tanh(a(width + j)) * sigmoid(a(2 * width + j));
        result[at] = sigmoid(a(3 * width + j)) * std::tanh(cells[at]);
      } else {
        reset_state[at] = sigmoid(a(width + j)) * state[at];
      }
    }
    if (gates_of(layer_.kind) != 3) return result;
    for (index_t j = 0; j < width; ++j) {
      const auto at = static_cast<std::size_t>(j);
      const Real z = sigmoid(a(j));
      const Real product = layer_.kind == Kind::kGru
                               ? of_state(reset_state, 2 * width + j)
                               : sigmoid(a(width + j)) * (of_state(state, 2 * width + j) +
                                                          get(layer_.b, 3 * width + j));
      const Real candidate = std::tanh(of_input(row, t, 2 * width + j) + product);
      result[at] = (1 - z) * state[at] + z * candidate;
    }
    return result;
  }

  const Layer<T>& layer_;
  const Array<T>* moved_ = nullptr;
  index_t at_ = 0;
  Real step_ = 0;
  std::vector<Real> hs_;
};

template <class T>
class Recurrent : public testing::Test {};
TYPED_TEST_SUITE(Recurrent, Reals, RealNames);

TYPED_TEST(Recurrent, StatesAndGradientsAreTheFormulas) {
  using T = TypeParam;
  for (const Kind kind : kKinds) {
    for (const RecurrentSizes& sizes :
         {RecurrentSizes{1, 1, 1, 1}, {2, 3, 2, 3}, {3, 2, 1, 5}, {1, 4, 3, 2}}) {
      Layer<T> layer(kind, sizes);
      SCOPED_TRACE(layer.name());
      layer.forward();
      layer.backward();
      Formulas<T> formulas(layer);
      formulas.loss();
      const Real bound = 100 * static_cast<Real>(kUnit<T>);
      EXPECT_TRUE(within(
          layer.hs, [&](index_t i) { return formulas.h(i); }, [&](index_t) { return bound; }));
      const Real step = 1e-5L;  // whose square, 1e-10 of a third derivative, is below the bound
      std::vector<std::pair<const Array<T>*, const Array<T>*>> pairs = {{&layer.x, &layer.dx},
                                                                        {&layer.wx, &layer.dwx},
                                                                        {&layer.wh, &layer.dwh},
                                                                        {&layer.b, &layer.db},
                                                                        {&layer.h0, &layer.dh}};
      if (kind == Kind::kLstm) pairs.emplace_back(&layer.c0, &layer.dc);
      for (const auto& [array, gradient] : pairs) {
        const auto exact = [&, given = array](index_t i) {
          return (formulas.loss(given, i, step) - formulas.loss(given, i, -step)) / (2 * step);
        };
        EXPECT_TRUE(within(*gradient, exact, [&](index_t) { return 20 * bound + 1e-8L; }));
      }
      EXPECT_TRUE(layer.guards_intact());
    }
  }
}

TYPED_TEST(Recurrent, TheSameBitsOnAnyThreadsAndInSlices) {
  using T = TypeParam;
  for (const Kind kind : kKinds) {
    for (const RecurrentSizes& sizes :
         {RecurrentSizes{5, 7, 3, 33}, {9, 3, 20, 100}, {8, 17, 5, 35}}) {
      for (const int threads : {1, 2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Layer<T> layer(kind, sizes);
        layer.forward();
        layer.backward();
        EXPECT_EQ(layer.hash(), recorded(layer.name())) << layer.name() << ", " << threads;
        EXPECT_TRUE(layer.guards_intact());
      }
      Layer<T> layer(kind, sizes);
      layer.forward(0, 1);
      layer.forward(1, sizes.batch - 1);
      layer.backward(0, 2, SumInto::kOverwrite);
      layer.backward(2, sizes.batch - 2, SumInto::kContinue);
      EXPECT_EQ(layer.hash(), recorded(layer.name())) << layer.name() << " in slices";
    }
  }
}

TYPED_TEST(Recurrent, WithoutRoomToPackTheWeightsTheSameBits) {
  using T = TypeParam;
  for (const Kind kind : kKinds) {
    Layer<T> layer(kind, {5, 7, 3, 33});
    ASSERT_NE(layer.room(), nullptr);
    layer.forward();
    layer.backward();
    const std::string with_room = layer.hash();
    Layer<T> other(kind, {5, 7, 3, 33});
    other.has_room = false;
    other.forward();
    other.backward();
    EXPECT_EQ(other.hash(), with_room) << layer.name();
  }
}

TYPED_TEST(Recurrent, WeightsArePackedForManyRowsAndSteps) {
  using T = TypeParam;
  const auto packs = [](index_t batch, index_t steps, index_t hidden, Way way) {
    return packed_wh_size<T>({batch, steps, 3, hidden}, 4, way) > 0;
  };
  EXPECT_TRUE(packs(4, 32, 9, Way::kForward));
  EXPECT_FALSE(packs(4, 31, 9, Way::kForward));
  EXPECT_FALSE(packs(3, 99, 9, Way::kForward));
  EXPECT_TRUE(packs(1, 4, 9, Way::kBackward));
  EXPECT_FALSE(packs(1, 3, 9, Way::kBackward));
  // Sums of more terms than one chain has: forward of H, backward of 4 H.
  EXPECT_TRUE(packs(8, 40, kLongestChain, Way::kForward));
  EXPECT_FALSE(packs(8, 40, kLongestChain + 1, Way::kForward));
  EXPECT_TRUE(packs(8, 40, kLongestChain / 4, Way::kBackward));
  EXPECT_FALSE(packs(8, 40, kLongestChain / 4 + 1, Way::kBackward));
  for (const Way way : {Way::kForward, Way::kBackward}) {
    EXPECT_FALSE(packs(0, 999, 9, way));
    EXPECT_FALSE(packs(99, 999, 0, way));
    EXPECT_FALSE(packs(99, 0, 9, way));
  }
}

TYPED_TEST(Recurrent, WithoutABiasTheBitsOfZeros) {
  using T = TypeParam;
  for (const Kind kind : kKinds) {
    Layer<T> with(kind, {5, 4, 3, 33});
    std::fill_n(with.b.data(), with.b.size(), T{0});
    Layer<T> without(kind, with.sizes);
    without.has_bias = false;
    for (Layer<T>* const layer : {&with, &without}) {
      layer->forward();
      layer->backward();
    }
    for (const auto& [found, expected] :
         {std::pair{&without.hs, &with.hs}, {&without.dx, &with.dx}, {&without.dwh, &with.dwh}}) {
      EXPECT_TRUE(same_bits(*expected, *found)) << with.name();
    }
    for (const T v : without.db) EXPECT_EQ(bits_of(v), bits_of(canary<T>()));
  }
}

TYPED_TEST(Recurrent, WithoutAStepTheGradientByTheStateIsZero) {
  using T = TypeParam;
  for (const Kind kind : kKinds) {
    Layer<T> layer(kind, {3, 0, 2, 5});
    layer.forward();
    if (kind == Kind::kRnn) {
      EXPECT_TRUE(same_bits(layer.h0, layer.last));
    }
    layer.backward();
    for (const Array<T>* const array : {&layer.dh, &layer.dwx, &layer.dwh, &layer.db}) {
      for (const T v : *array) EXPECT_EQ(v, 0);
    }
    EXPECT_TRUE(layer.guards_intact());
  }
}

TYPED_TEST(Recurrent, StatesNearZeroAreZeros) {
  using T = TypeParam;
  constexpr T kLeast = std::numeric_limits<T>::min();
  for (const Kind kind : kKinds) {
    Layer<T> layer(kind, {3, 5, 2, 19});
    SCOPED_TRACE(layer.name());
    for (index_t i = 0; i < layer.h0.size(); ++i) {
      layer.h0[i] = std::sqrt(kLeast) / 2;
      layer.c0[i] = kLeast / 2;
    }
    for (index_t i = 0; i < layer.x.size(); ++i) layer.x[i] = kLeast * 2;
    for (index_t i = 0; i < layer.b.size(); ++i) layer.b[i] = static_cast<T>(-80);
    for (index_t i = 0; i < layer.dout.size(); ++i) layer.dout[i] = kLeast * 3 / 2;
    layer.forward();
    layer.backward();
    const T root = std::sqrt(kLeast);
    for (const Array<T>* const array :
         {&layer.hs, kind == Kind::kLstm ? &layer.cells : &layer.hs}) {
      for (const T v : *array) EXPECT_TRUE(v == 0 || std::abs(v) >= kLeast) << v;
    }
    for (const Array<T>* const operand : {&layer.previous, &layer.dsums}) {
      for (const T v : *operand) EXPECT_TRUE(v == 0 || std::abs(v) >= root) << v;
    }
  }
}

}  // namespace
}  // namespace nnext::test
