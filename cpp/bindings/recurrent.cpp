// Recurrent layers over sequences.
#include "nnext/recurrent.h"

#include <algorithm>
#include <optional>

#include "gil.h"
#include "linear.h"
#include "module.h"
#include "scalars.h"
#include "target.h"

namespace nnext::bindings {
namespace {

// xs (N, T, D), Wx (D, G H), Wh (H, G H) and, unless it is None, b, whose size is given in H.
struct SequenceArguments {
  View x;
  View wx;
  View wh;
  View b;
  bool has_bias;
  RecurrentSizes sizes{};
  py::ssize_t gates;
  ComputeType type;

  SequenceArguments(py::handle x_object, py::handle wx_object, py::handle wh_object,
                    py::handle b_object, py::ssize_t gate_count, py::ssize_t bias_count)
      : x(argument("xs", x_object)),
        wx(argument("Wx", wx_object)),
        wh(argument("Wh", wh_object)),
        b(b_object.is_none() ? View() : argument("b", b_object)),
        has_bias(!b_object.is_none()),
        gates(gate_count),
        type(has_bias ? compute_type({&x, &wx, &wh, &b}) : compute_type({&x, &wx, &wh})) {
    if (wh.ndim() != 2 || wh.shape(1) != gates * wh.shape(0)) {
      const std::string factor = gates == 1 ? "" : std::to_string(gates) + " ";
      throw py::value_error("Wh: expected shape (H, " + factor + "H), got " + shape_text(wh));
    }
    const py::ssize_t hidden = wh.shape(0);
    if (wx.ndim() != 2 || wx.shape(1) != wh.shape(1)) {
      throw py::value_error("Wx: expected shape (D, " + std::to_string(wh.shape(1)) + "), got " +
                            shape_text(wx) + " with Wh of shape " + shape_text(wh));
    }
    if (has_bias) {
      const std::string whose = " with Wh of shape " + shape_text(wh);
      require_shape(b, {bias_count * hidden}, whose.c_str());
    }
    if (x.ndim() != 3) {
      throw py::value_error("xs: expected shape (N, T, D), got " + shape_text(x));
    }
    if (x.shape(2) != wx.shape(0)) {
      throw py::value_error("xs: expected the last dimension to be " + std::to_string(wx.shape(0)) +
                            ", got shape " + shape_text(x) + " with Wx of shape " + shape_text(wx));
    }
    sizes = {x.shape(0), x.shape(1), x.shape(2), hidden};
  }

  static void require_shape(const View& array, const Shape& shape, const char* whose) {
    if (shape_of(array) == shape) return;
    throw py::value_error(std::string(array.name()) + ": expected shape " + shape_text(shape) +
                          whose + ", got " + shape_text(array));
  }

  Shape state_shape() const { return {sizes.batch, sizes.hidden}; }
  Shape sequence_shape(py::ssize_t times = 1, py::ssize_t more_steps = 0) const {
    return {sizes.batch, sizes.steps + more_steps, times * sizes.hidden};
  }
  double work() const {
    return flops(sizes.batch * sizes.steps, sizes.inputs + sizes.hidden, gates * sizes.hidden);
  }

  // Where the core packs Wh; nothing where it does not.
  View room_for_wh(const ComputeType& in_type, Way way) const {
    index_t size = 0;
    with_type(in_type,
              [&](auto zero) { size = packed_wh_size<decltype(zero)>(sizes, gates, way); });
    return size == 0 ? View() : new_array(in_type, Shape{size});
  }

  // A state in the type computed in, which it has no say in; nothing for None.
  View state(const char* name, py::handle object) const {
    if (object.is_none()) return {};
    const View given = argument(name, object);
    compute_type({&given});  // which refuses what are no numbers
    require_shape(given, state_shape(),
                  ", a row for each of the batch (reset_state() begins anew)");
    return contiguous_operand(given, type);
  }
};

template <class T>
const T* input_or_null(const View& array) {
  return array.ndim() == 0 ? nullptr : input<T>(array);
}

template <class T>
T* output_or_null(const View& array) {
  return array.ndim() == 0 ? nullptr : output<T>(array);
}

// The operands of a forward, as the core takes them.
struct Operands {
  View x;
  View wx;
  View wh;
  View b;

  explicit Operands(const SequenceArguments& in, const ComputeType& type)
      : x(contiguous_operand(in.x, type)),
        wx(operand(in.wx, type)),
        wh(operand(in.wh, type)),
        b(in.has_bias ? contiguous_operand(in.b, type) : View()) {}

  template <class T>
  RecurrentWeights<T> weights() const {
    return {matrix_view<const T>(wx), matrix_view<const T>(wh), input_or_null<T>(b)};
  }
};

// What a forward left for its backward: arrays of these names and shapes, in this order.
class Left {
 public:
  Left(py::handle object, std::size_t count) : arrays_(py::cast<py::tuple>(object)) {
    if (arrays_.size() != count) {
      throw py::value_error("left: expected " + std::to_string(count) + " arrays, got " +
                            std::to_string(arrays_.size()));
    }
  }
  View next(const char* name, const Shape& shape) {
    View given = argument(name, arrays_[at_++]);
    compute_type({&given});
    SequenceArguments::require_shape(given, shape, "");
    return given;
  }

 private:
  py::tuple arrays_;
  std::size_t at_ = 0;
};

// The arguments of a backward beside those of its forward, and what it is written into.
class Backward {
 public:
  Backward(const SequenceArguments& in, py::handle dout_object, py::handle dwx, py::handle dwh,
           py::handle db, py::handle input_grad, py::handle accumulate)
      : in_(in),
        dout_(argument("dout", dout_object)),
        dwx_("dWx", dwx, shape_of(in.wx)),
        dwh_("dWh", dwh, shape_of(in.wh)) {
    SequenceArguments::require_shape(dout_, in.sequence_shape(), ", that of the output");
    dwh_.require_apart(dwx_);
    if (in.has_bias) {
      db_.emplace("db", db, shape_of(in.b));
      db_->require_apart(dwx_);
      db_->require_apart(dwh_);
    }
    needs_dx_ = truth(input_grad);
    into_ = sum_into(accumulate);
    type_ = compute_type({&in.x, &in.wx, &in.wh, &dout_});
  }

  const ComputeType& type() const { return type_; }
  View remembered(const View& array) const { return contiguous_operand(array, type_); }

  // Converts and allocates all there is; `remembered` are arrays that must not be written over.
  void prepare(const Operands& operands, std::initializer_list<const View*> remembered) {
    dout_array_ = contiguous_operand(dout_, type_);
    const bool in_place = may_write_in_place({&dwx_, &dwh_, db_ ? &*db_ : nullptr}, type_);
    std::vector<const View*> inputs(remembered);
    inputs.insert(inputs.end(), {&operands.x, &operands.wx, &operands.wh, &dout_array_});
    dwx_.prepare(type_, is_writable_layout(dwx_.original()), in_place, inputs, into_);
    dwh_.prepare(type_, is_writable_layout(dwh_.original()), in_place, inputs, into_);
    if (db_) db_->prepare(type_, db_->original().is_c_contiguous(), in_place, inputs, into_);
    dsums_ = new_array(type_, in_.sequence_shape(in_.gates));
    packed_wh_ = in_.room_for_wh(type_, Way::kBackward);
    dh_ = new_array(type_, in_.state_shape());
    if (needs_dx_) dx_ = new_like(type_, operands.x);
  }

  template <class T>
  const T* dout() const {
    return input<T>(dout_array_);
  }
  template <class T>
  RecurrentScratch<T> scratch() const {
    return {output<T>(dsums_), output_or_null<T>(packed_wh_)};
  }
  template <class T>
  RecurrentGradients<T> gradients() const {
    return {matrix_view<T>(dwx_.array()),
            matrix_view<T>(dwh_.array()),
            db_ ? output<T>(db_->array()) : nullptr,
            into_,
            needs_dx_ ? output<T>(dx_) : nullptr,
            output<T>(dh_)};
  }

  // dx, or None, and the gradient by the state before the first step, once all is handed over.
  std::pair<py::object, py::object> finish() {
    py::object dx = py::none();
    if (needs_dx_) dx = finished(dx_, type_);
    commit({&dwx_, &dwh_, db_ ? &*db_ : nullptr});
    return {dx, dh_.owner()};
  }

 private:
  const SequenceArguments& in_;
  View dout_;
  Target dwx_;
  Target dwh_;
  std::optional<Target> db_;
  bool needs_dx_ = true;
  SumInto into_ = SumInto::kOverwrite;
  ComputeType type_;
  View dout_array_;
  View dsums_;
  View packed_wh_;
  View dh_;
  View dx_;
};

// Each forward returns the output, the states in the type computed in (the same array, but for half
// types), and what is left for backward.
py::tuple rnn_forward_any(py::handle x, py::handle wx, py::handle wh, py::handle b, py::handle h) {
  const SequenceArguments in(x, wx, wh, b, 1, 1);
  const View h0 = in.state("h", h);
  const Operands operands(in, in.type);
  const View states = new_array(in.type, in.sequence_shape());
  const View previous = new_array(in.type, in.sequence_shape());
  const View last = new_array(in.type, in.state_shape());
  const View packed_wh = in.room_for_wh(in.type, Way::kForward);
  with_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(in.work());
    rnn_forward<T>(in.sizes, input<T>(operands.x), operands.weights<T>(), input_or_null<T>(h0),
                   output_or_null<T>(packed_wh), output<T>(states), output<T>(previous),
                   output<T>(last));
  });
  return py::make_tuple(finished(states, in.type), states.owner(),
                        py::make_tuple(previous.owner(), last.owner()));
}

py::tuple rnn_backward_any(py::handle x, py::handle wx, py::handle wh, py::handle b,
                           py::handle left_object, py::handle dout, py::handle dwx, py::handle dwh,
                           py::handle db, py::handle input_grad, py::handle accumulate) {
  const SequenceArguments in(x, wx, wh, b, 1, 1);
  Left left(left_object, 2);
  const View given_previous = left.next("previous", in.sequence_shape());
  const View given_last = left.next("last", in.state_shape());
  Backward backward(in, dout, dwx, dwh, db, input_grad, accumulate);
  const Operands operands(in, backward.type());
  const View previous = backward.remembered(given_previous);
  const View last = backward.remembered(given_last);
  backward.prepare(operands, {&previous, &last});
  with_type(backward.type(), [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(2 * in.work());
    rnn_backward<T>(in.sizes, input<T>(operands.x), operands.weights<T>(), input<T>(previous),
                    input<T>(last), backward.dout<T>(), backward.scratch<T>(),
                    backward.gradients<T>());
  });
  const auto [dx, dh] = backward.finish();
  return py::make_tuple(dx, dh);
}

py::tuple lstm_forward_any(py::handle x, py::handle wx, py::handle wh, py::handle b, py::handle h,
                           py::handle c) {
  const SequenceArguments in(x, wx, wh, b, 4, 4);
  const View h0 = in.state("h", h);
  const View c0 = in.state("c", c);
  const Operands operands(in, in.type);
  const View states = new_array(in.type, in.sequence_shape());
  const View previous = new_array(in.type, in.sequence_shape());
  const View gates = new_array(in.type, in.sequence_shape(4));
  const View cells = new_array(in.type, in.sequence_shape(1, 1));
  const View tanh_cells = new_array(in.type, in.sequence_shape());
  const View packed_wh = in.room_for_wh(in.type, Way::kForward);
  with_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(in.work());
    lstm_forward<T>(in.sizes, input<T>(operands.x), operands.weights<T>(), input_or_null<T>(h0),
                    input_or_null<T>(c0), output_or_null<T>(packed_wh), output<T>(states),
                    output<T>(previous), output<T>(gates), output<T>(cells), output<T>(tanh_cells));
  });
  return py::make_tuple(
      finished(states, in.type), states.owner(),
      py::make_tuple(previous.owner(), gates.owner(), cells.owner(), tanh_cells.owner()));
}

py::tuple lstm_backward_any(py::handle x, py::handle wx, py::handle wh, py::handle b,
                            py::handle left_object, py::handle dout, py::handle dc_object,
                            py::handle dwx, py::handle dwh, py::handle db, py::handle input_grad,
                            py::handle accumulate) {
  const SequenceArguments in(x, wx, wh, b, 4, 4);
  Left left(left_object, 4);
  const View given_previous = left.next("previous", in.sequence_shape());
  const View given_gates = left.next("gates", in.sequence_shape(4));
  const View given_cells = left.next("cells", in.sequence_shape(1, 1));
  const View given_tanh_cells = left.next("tanh_cells", in.sequence_shape());
  Backward backward(in, dout, dwx, dwh, db, input_grad, accumulate);
  std::optional<View> given_dc;
  if (!dc_object.is_none()) {
    given_dc = argument("dc", dc_object);
    compute_type({&*given_dc});
    SequenceArguments::require_shape(*given_dc, in.state_shape(), ", that of the cells");
  }
  const Operands operands(in, backward.type());
  const View previous = backward.remembered(given_previous);
  const View gates = backward.remembered(given_gates);
  const View cells = backward.remembered(given_cells);
  const View tanh_cells = backward.remembered(given_tanh_cells);
  const View dc = given_dc ? converted(*given_dc, float_type(backward.type().is_double))
                           : new_array(backward.type(), in.state_shape());
  backward.prepare(operands, {&previous, &gates, &cells, &tanh_cells});
  with_type(backward.type(), [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(2 * in.work());
    if (!given_dc) std::fill_n(output<T>(dc), dc.size(), T{0});
    lstm_backward<T>(in.sizes, input<T>(operands.x), operands.weights<T>(), input<T>(previous),
                     input<T>(gates), input<T>(cells), input<T>(tanh_cells), backward.dout<T>(),
                     output<T>(dc), backward.scratch<T>(), backward.gradients<T>());
  });
  const auto [dx, dh] = backward.finish();
  return py::make_tuple(dx, dh, dc.owner());
}

Reset reset_of(bool is_after) { return is_after ? Reset::kAfterProduct : Reset::kBeforeProduct; }

py::tuple gru_forward_any(py::handle x, py::handle wx, py::handle wh, py::handle b, py::handle h,
                          py::handle reset_after) {
  const bool is_after = truth(reset_after);
  const SequenceArguments in(x, wx, wh, b, 3, is_after ? 4 : 3);
  const View h0 = in.state("h", h);
  const Operands operands(in, in.type);
  const View states = new_array(in.type, in.sequence_shape());
  const View previous = new_array(in.type, in.sequence_shape());
  const View gates = new_array(in.type, in.sequence_shape(3));
  const View products = new_array(in.type, in.sequence_shape());
  const View packed_wh = in.room_for_wh(in.type, Way::kForward);
  with_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(in.work());
    gru_forward<T>(in.sizes, reset_of(is_after), input<T>(operands.x), operands.weights<T>(),
                   input_or_null<T>(h0), output_or_null<T>(packed_wh), output<T>(states),
                   output<T>(previous), output<T>(gates), output<T>(products));
  });
  return py::make_tuple(finished(states, in.type), states.owner(),
                        py::make_tuple(previous.owner(), gates.owner(), products.owner()));
}

py::tuple gru_backward_any(py::handle x, py::handle wx, py::handle wh, py::handle b,
                           py::handle reset_after, py::handle left_object, py::handle dout,
                           py::handle dwx, py::handle dwh, py::handle db, py::handle input_grad,
                           py::handle accumulate) {
  const bool is_after = truth(reset_after);
  const SequenceArguments in(x, wx, wh, b, 3, is_after ? 4 : 3);
  Left left(left_object, 3);
  const View given_previous = left.next("previous", in.sequence_shape());
  const View given_gates = left.next("gates", in.sequence_shape(3));
  const View given_products = left.next("products", in.sequence_shape());
  Backward backward(in, dout, dwx, dwh, db, input_grad, accumulate);
  const Operands operands(in, backward.type());
  const View previous = backward.remembered(given_previous);
  const View gates = backward.remembered(given_gates);
  const View products = backward.remembered(given_products);
  const View dproducts = new_array(backward.type(), in.sequence_shape());
  backward.prepare(operands, {&previous, &gates, &products});
  with_type(backward.type(), [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(2 * in.work());
    gru_backward<T>(in.sizes, reset_of(is_after), input<T>(operands.x), operands.weights<T>(),
                    input<T>(previous), input<T>(gates), input<T>(products), backward.dout<T>(),
                    output<T>(dproducts), backward.scratch<T>(), backward.gradients<T>());
  });
  const auto [dx, dh] = backward.finish();
  return py::make_tuple(dx, dh);
}

}  // namespace

void bind_recurrent(py::module_& module) {
  using py::arg;
  module.def("rnn_forward", &rnn_forward_any, arg("xs"), arg("Wx"), arg("Wh"), arg("b").none(true),
             arg("h").none(true));
  module.def("rnn_backward", &rnn_backward_any, arg("xs"), arg("Wx"), arg("Wh"),
             arg("b").none(true), arg("left"), arg("dout"), arg("dWx"), arg("dWh"),
             arg("db").none(true), arg("input_grad"), arg("accumulate") = false);
  module.def("lstm_forward", &lstm_forward_any, arg("xs"), arg("Wx"), arg("Wh"),
             arg("b").none(true), arg("h").none(true), arg("c").none(true));
  module.def("lstm_backward", &lstm_backward_any, arg("xs"), arg("Wx"), arg("Wh"),
             arg("b").none(true), arg("left"), arg("dout"), arg("dc").none(true), arg("dWx"),
             arg("dWh"), arg("db").none(true), arg("input_grad"), arg("accumulate") = false);
  module.def("gru_forward", &gru_forward_any, arg("xs"), arg("Wx"), arg("Wh"), arg("b").none(true),
             arg("h").none(true), arg("reset_after"));
  module.def("gru_backward", &gru_backward_any, arg("xs"), arg("Wx"), arg("Wh"),
             arg("b").none(true), arg("reset_after"), arg("left"), arg("dout"), arg("dWx"),
             arg("dWh"), arg("db").none(true), arg("input_grad"), arg("accumulate") = false);
}

}  // namespace nnext::bindings
