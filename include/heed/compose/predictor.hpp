// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <type_traits>

#include <heed/core/layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/core/prepared_weights.hpp>

namespace heed::inline HEED_ABI {

/// Inference that neither throws nor asks the system for memory, for one shape of input:
///
/// ```cpp
/// heed::Predictor predictor(model, {1, 32, 32, 3});  // takes all memory and runs the model once
/// if (!predictor.predict(image, logits.view())) return;  // noexcept: y = model.forward(x), or false
/// ```
///
/// It holds a pool of its own, with every buffer that the pass needs, and looks at the model, which must live as long. One Predictor serves
/// one thread at a time; many, each with its own, share one model. A model that takes tensors of any rank wants the rank named:
/// `heed::Predictor<Model, 2>`.
///
/// It prepares the weights once, too: those of linear layers and convolutions lie in it a second time in the layout that kernels read, four times as
/// large for 3x3 convolutions (see PreparedWeights). Weights may change between two predictions, whose second then prepares them anew: each looks whether
/// they did, up to a third of the time of one small image, unless `freeze()` says that they do not. A model that is assigned as a whole may move its weights:
/// predictions stay right, but are slow and ask for memory until there is a new Predictor.
///
/// The loops' run-time library may take memory of its own: OpenMP's does once, for its first parallel region with so many threads, the back end of
/// std::thread does in every loop. With `threads` = 1 nothing but the calling thread runs.
template <class Model, int Rank = detail::example_rank<Model>>
class Predictor {
 public:
  using scalar = typename Model::scalar;
  using input_scalar = InputScalarOf<Model>;
  using Input = TensorView<const input_scalar, Rank>;  ///< x
  static constexpr int output_rank =
      std::remove_cvref_t<decltype(std::declval<const Model&>().forward(std::declval<Input>()))>::rank;  ///< the rank of y
  using Output = TensorView<scalar, output_rank>;                                                        ///< y

  /// `in` is the shape of every input to come; `threads`, if positive, how many threads a pass may use, else what the calling thread may use
  /// now (`thread_count()`). Throws what `model.output_shape(in)` throws.
  Predictor(const Model& model, const Shape& in, int threads = 0)
      : model_(&model), threads_(threads > 0 ? threads : thread_count()), input_shape_(in), output_shape_(model.output_shape(in)) {
    const Tensor<input_scalar, Rank> zeros(in);
    PoolScope own(pool_);
    PreparedScope prepared(weights_);
    // The first pass keeps the prepared weights, the others fill the pool with what preparing them anew and answering take. Scratch follows the threads that
    // a loop may use, which is one inside a parallel region of the caller's.
    for (const int allowed : {threads_, threads_, 1}) {
      ThreadScope limit(allowed);
      weights_.expire();
      model.forward(Input(zeros));
      weights_.close();
    }
  }
  ~Predictor() {
    PoolScope own(pool_);
    weights_.clear();
  }
  HEED_REFUSED("the model must outlive the predictor: give it a name")
  Predictor(const Model&& model, const Shape& in, int threads = 0);
  Predictor(const Predictor&) = delete;
  Predictor& operator=(const Predictor&) = delete;

  /// Takes the weights as they are now, and from here on the caller's word that they stay so: predictions do not look whether they changed, and one that does
  /// changes nothing or gives numbers of no model. `freeze(false)`: they look again, as they do if this throws what `model.forward` throws for zeros.
  void freeze(bool frozen = true) {
    weights_.freeze(false);
    if (!frozen) return;
    const Tensor<input_scalar, Rank> zeros(input_shape_);
    PoolScope own(pool_);
    PreparedScope prepared(weights_);
    ThreadScope limit(threads_);
    model_->forward(Input(zeros));
    weights_.freeze();
  }

  /// The shape that `predict` takes.
  const Shape& input_shape() const { return input_shape_; }
  /// The shape that `predict` writes.
  const Shape& output_shape() const { return output_shape_; }

  /// y = model.forward(x), the same bits. False, with y as it was, if x or y has another shape than `input_shape()` and `output_shape()`, or if the model
  /// refuses x, as an Embedding does a number that is outside of its table (forward says why). Without exceptions the error handler has the last word there, as everywhere.
  [[nodiscard]] bool predict(const Input& x, const Output& y) noexcept {
    if (x.shape() != input_shape_ || y.shape() != output_shape_) return false;
#if defined(__cpp_exceptions)
    try {
      run(x, y);
    } catch (...) {
      return false;
    }
#else
    run(x, y);
#endif
    return true;
  }

 private:
  void run(const Input& x, const Output& y) {
    PoolScope own(pool_);
    PreparedScope prepared(weights_);
    ThreadScope limit(threads_);
    const auto result = model_->forward(x);
    std::copy_n(result.data(), result.size(), y.data());
  }

  BufferPool pool_;
  PreparedWeights weights_;
  const Model* model_;
  int threads_;
  Shape input_shape_, output_shape_;
};

template <class Model>
Predictor(const Model&, const Shape&, int = 0) -> Predictor<Model>;

}  // namespace heed::inline HEED_ABI
