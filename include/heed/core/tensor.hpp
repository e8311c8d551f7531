// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include <Eigen/Core>

#include <heed/core/buffer_pool.hpp>
#include <heed/core/config.hpp>
#include <heed/core/shape.hpp>

namespace heed::inline HEED_ABI {

/// A row-major Eigen matrix over memory that it does not own; T may be const.
template <class T>
using MatrixMap = Eigen::Map<
    std::conditional_t<std::is_const_v<T>, const Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>,
        Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>>;

/// Pointer and shape of row-major elements that somebody else owns. Free to make and to copy. Kernels take views. A view is valid as long
/// as the memory it looks at. `TensorView<const T, Rank>` is for reading; `TensorView<T, Rank>` is one of those and writes, too.
template <class T, int Rank>
class TensorView;

/// The view for reading; see the one for writing, which is one of these.
template <class T, int Rank>
class TensorView<const T, Rank> {
 public:
  static constexpr int rank = Rank;  ///< the number of axes
  using scalar = T;

  TensorView() = default;
  /// Wraps `data`, which holds `shape.size()` elements. Throws ShapeError if the shape has another rank.
  TensorView(const T* data, const Shape& shape) : data_(data), shape_(shape) {
    require<ShapeError>(shape.rank() == Rank, "TensorView: shape ", shape, " has rank ", shape.rank(), ", the type says ", Rank);
  }

  /// The elements, row-major; null of an empty view.
  const T* data() const { return data_; }
  /// The sizes of the axes.
  const Shape& shape() const { return shape_; }
  /// The number of elements.
  Index size() const { return shape_.rank() == 0 && Rank > 0 ? 0 : shape_.size(); }
  /// Whether there are no elements.
  bool empty() const { return size() == 0; }
  /// Size of axis `axis`; negative axes count from the end.
  Index size(int axis) const { return shape_[axis]; }
  /// Product of the sizes of all axes but the last.
  Index rows() const { return shape_.rank() == 0 && Rank > 0 ? 0 : shape_.rows(); }
  /// Size of the last axis.
  Index features() const { return shape_.features(); }
  /// All elements, row-major.
  std::span<const T> span() const { return {data_, static_cast<std::size_t>(size())}; }

  /// The element at one position an axis.
  template <class... Positions>
  const T& operator()(Positions... positions) const {
    return data_[offset(positions...)];
  }
  /// Element number `element` in row-major order. Debug builds assert that there is one.
  const T& operator[](Index element) const {
    HEED_ASSERT(element >= 0 && element < size());
    return data_[element];
  }

  /// The tensor as rows x features.
  MatrixMap<const T> matrix() const { return {data_, rows(), features()}; }
  /// The same elements as rows x features.
  TensorView<const T, 2> as_rows() const { return {data_, Shape{rows(), features()}}; }
  /// The same elements under another shape of equal size, else ShapeError.
  template <int NewRank>
  TensorView<const T, NewRank> reshaped(const Shape& shape) const {
    require<ShapeError>(shape.size() == size(), "reshape: ", shape_, " has ", size(), " elements, ", shape, " has ", shape.size());
    return {data_, shape};
  }
  /// Elements `begin` to `end` of the outermost axis. Throws ShapeError if there are no such elements.
  TensorView slice(Index begin, Index end) const {
    require<ShapeError>(0 <= begin && begin <= end && end <= shape_[0], "slice: there are no elements ", begin, " to ", end,
        " on the first axis of ", shape_);
    Shape part = shape_;
    part[0] = end - begin;
    return {data_ + begin * (shape_[0] == 0 ? 0 : size() / shape_[0]), part};
  }

 protected:
  /// Row-major number of the element at these positions.
  template <class... Positions>
  Index offset(Positions... positions) const {
    static_assert(sizeof...(Positions) == Rank, "heed::TensorView: give one position for each axis");
    Index result = 0;
    int axis = 0;
    ((result = result * shape_[axis++] + static_cast<Index>(positions)), ...);
    HEED_ASSERT(result >= 0 && result < size());
    return result;
  }

  const T* data_ = nullptr;  ///< the elements, the owner's
  Shape shape_;              ///< of rank `Rank`, or of rank 0 in a view that looks at nothing
};

template <class T, int Rank>
class TensorView : public TensorView<const T, Rank> {
  using Base = TensorView<const T, Rank>;

 public:
  TensorView() = default;
  /// Wraps `data`, which holds `shape.size()` elements. Throws ShapeError if the shape has another rank.
  TensorView(T* data, const Shape& shape) : Base(data, shape) {}

  /// The elements, to write.
  /// @{
  T* data() const { return const_cast<T*>(this->data_); }  // it came in as T*
  std::span<T> span() const { return {data(), static_cast<std::size_t>(this->size())}; }
  /// @}
  /// The element at one position an axis, to write.
  template <class... Positions>
  T& operator()(Positions... positions) const {
    return data()[this->offset(positions...)];
  }
  /// Element number `element` in row-major order, to write.
  T& operator[](Index element) const { return const_cast<T&>(Base::operator[](element)); }

  /// As of the view for reading, to write.
  /// @{
  MatrixMap<T> matrix() const { return {data(), this->rows(), this->features()}; }
  TensorView<T, 2> as_rows() const { return writable(Base::as_rows()); }
  template <int NewRank>
  TensorView<T, NewRank> reshaped(const Shape& shape) const {
    return writable(Base::template reshaped<NewRank>(shape));
  }
  TensorView slice(Index begin, Index end) const { return writable(Base::slice(begin, end)); }
  /// @}

 private:
  template <int NewRank>
  static TensorView<T, NewRank> writable(const TensorView<const T, NewRank>& mine) {
    return {const_cast<T*>(mine.data()), mine.shape()};
  }
};

/// A tensor that owns its elements: row-major, channels-last, 64-byte aligned, from the pool of buffers. It *is* a read-only view,
/// so it goes wherever a view is read; writing through a view is asked for by `view()`. Copies are deep. T is any number-like type.
template <class T, int Rank>
class Tensor : public TensorView<const T, Rank> {
  using Base = TensorView<const T, Rank>;
  static_assert(!std::is_const_v<T> && Rank >= 1 && Rank <= Shape::kMaxRank, "heed::Tensor: T must not be const, and the rank 1 to 8");

 public:
  Tensor() = default;
  /// Zeros.
  explicit Tensor(const Shape& shape) : Tensor(uninitialized(shape)) { std::fill_n(data(), this->size(), T(0)); }
  /// A deep copy.
  explicit Tensor(const TensorView<const T, Rank>& source) : Tensor(uninitialized(source.shape())) {
    std::copy_n(source.data(), source.size(), data());
  }
  /// A deep copy.
  Tensor(const Tensor& other) : Tensor() { *this = other; }
  /// Takes the memory; `other` is empty afterwards.
  Tensor(Tensor&& other) noexcept : Tensor() { swap(other); }
  /// A deep copy, into the memory that is here where that is large enough.
  Tensor& operator=(const Tensor& other) {
    if (this == &other) return *this;
    if (other.empty()) {
      Tensor().swap(*this);
      this->shape_ = other.shape();
    } else {
      resize(other.shape());
      std::copy_n(other.data(), other.size(), data());
    }
    return *this;
  }
  /// Exchanges the memory with `other`.
  Tensor& operator=(Tensor&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Tensor() { free(); }

  /// For trivial types the elements are whatever lay there; kernels that write every element start from this.
  static Tensor uninitialized(const Shape& shape) {
    Tensor result;
    result.resize(shape);
    return result;
  }

  /// Zeros that are here to stay (gradients, optimiser state): their memory comes from the system and not from the pool's idle buffers,
  /// and goes back there.
  static Tensor lasting(const Shape& shape) {
    Tensor result;
    result.resize(shape, true);
    result.fill(T(0));
    return result;
  }

  /// Gives the memory back to the pool.
  void release() noexcept { Tensor().swap(*this); }

  /// Takes the shape; keeps the memory if it is large enough. The elements are unspecified afterwards. (`fresh`: see `lasting`.)
  /// Throws ShapeError for another rank and for more bytes than can be addressed. Where the system has no memory left
  /// (std::bad_alloc), the tensor is empty.
  void resize(const Shape& shape, bool fresh = false) {
    require<ShapeError>(shape.rank() == Rank, "Tensor: shape ", shape, " has rank ", shape.rank(), ", the type says ", Rank);
    require<ShapeError>(shape.fits(sizeof(T)), "Tensor: ", shape, " elements of ", sizeof(T), " bytes are more than can be addressed");
    const Index count = shape.size();
    if (count > capacity_) {
      free();
      this->data_ = obtain(count, fresh);
      capacity_ = count;
      fresh_ = fresh;
    }
    this->shape_.template take<Rank>(shape);
  }
  /// The elements as one axis; the memory moves along, so views of this tensor stay valid as long as the result lives.
  Tensor<T, 1> flattened() && {
    Tensor<T, 1> result;
    result.shape_ = Shape{this->size()};
    result.data_ = std::exchange(this->data_, nullptr);
    this->shape_ = Shape{};
    result.capacity_ = std::exchange(capacity_, 0);
    result.fresh_ = fresh_;
    return result;
  }
  /// Sets every element.
  void fill(const T& value) { std::fill_n(data(), this->size(), value); }
  /// Exchanges shape and memory.
  void swap(Tensor& other) noexcept {
    std::swap(this->data_, other.data_);
    std::swap(this->shape_, other.shape_);
    std::swap(capacity_, other.capacity_);
    std::swap(fresh_, other.fresh_);
  }

  using Base::data;
  using Base::matrix;
  using Base::span;
  using Base::operator();
  using Base::operator[];
  /// The elements, to write: as of TensorView.
  /// @{
  T* data() { return const_cast<T*>(this->data_); }  // the elements are ours and were never const
  TensorView<T, Rank> view() { return this->shape_.rank() == Rank ? TensorView<T, Rank>(data(), this->shape_) : TensorView<T, Rank>(); }
  MatrixMap<T> matrix() { return view().matrix(); }
  std::span<T> span() { return view().span(); }
  template <class... Positions>
  T& operator()(Positions... positions) {
    return view()(positions...);
  }
  T& operator[](Index element) { return const_cast<T&>(Base::operator[](element)); }
  /// @}

 private:
  template <class, int>
  friend class Tensor;

  /// `count` elements in memory of the pool, which goes back there if a constructor throws.
  static T* obtain(Index count, bool fresh) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    auto* elements = static_cast<T*>(BufferPool::current().acquire(bytes, fresh));
    if constexpr (!std::is_trivially_default_constructible_v<T>) {
      struct Guard {
        void* memory;
        std::size_t bytes;
        bool fresh;
        ~Guard() { BufferPool::current().release(memory, bytes, fresh); }
      } guard{elements, bytes, fresh};
      std::uninitialized_value_construct_n(elements, count);
      guard.memory = nullptr;
    }
    return elements;
  }
  /// Leaves an empty tensor.
  void free() noexcept {
    if (capacity_ > 0) {
      if constexpr (!std::is_trivially_destructible_v<T>) std::destroy_n(data(), capacity_);
      BufferPool::current().release(data(), static_cast<std::size_t>(capacity_) * sizeof(T), fresh_);
    }
    this->data_ = nullptr;
    this->shape_ = Shape{};
    capacity_ = 0;
  }

  Index capacity_ = 0;
  bool fresh_ = false;  // see `lasting`
};

/// Gives the memory of tensors that have served back to the pool: what `backward` does with the tensors of its cache.
template <class... Tensors>
void release(Tensors&... tensors) noexcept {
  (tensors.release(), ...);
}

/// Looks at the caller's `data` without a copy.
template <int Rank, class T>
TensorView<T, Rank> wrap(T* data, const Shape& shape) {
  return {data, shape};
}

/// Looks at the caller's span without a copy. Throws ShapeError unless the sizes agree.
template <int Rank, class T, std::size_t Extent>
TensorView<T, Rank> wrap(std::span<T, Extent> data, const Shape& shape) {
  require<ShapeError>(static_cast<Index>(data.size()) == shape.size(), "wrap: the span holds ", data.size(), " elements, shape ", shape,
      " needs ", shape.size());
  return {data.data(), shape};
}

namespace detail {

template <class Derived>
void take_dense(const Eigen::DenseBase<Derived>&);
template <class Derived>
void take_plain(const Eigen::PlainObjectBase<Derived>&);

/// Any Eigen matrix, array, map, reference, block or expression.
template <class M>
concept EigenDense = requires(const M& m) {
  take_dense(m);
};

/// Elements that go when the object goes.
template <class M>
inline constexpr bool kOwnsElements = requires(const M& m) {
  take_plain(m);
};
template <class Plain, int options, class Stride>
inline constexpr bool kOwnsElements<Eigen::Ref<const Plain, options, Stride>> = true;  // it may hold a copy

/// Elements next to each other inside a row; rows or, in a column, elements one behind the other.
template <class M>
inline constexpr bool kRowMajorMemory = (int(M::Flags) & Eigen::DirectAccessBit) != 0 && int(M::InnerStrideAtCompileTime) == 1 &&
                                        (bool(M::IsRowMajor) || int(M::ColsAtCompileTime) == 1);

}  // namespace detail

/// Looks at row-major Eigen memory without a copy, as rows x features: a matrix, array, Map, Ref, block of whole rows or vector, or the
/// transpose of something column-major; `.reshaped<4>(shape)` sees it as images. It writes through where the Eigen object may be
/// written to. Other expressions do not compile, and rows with gaps between them throw ShapeError: `copy` takes both.
template <class Matrix>
  requires(detail::EigenDense<Matrix> && (std::is_lvalue_reference_v<Matrix> || !detail::kOwnsElements<std::remove_cvref_t<Matrix>>))
auto wrap(Matrix&& matrix) {
  static_assert(detail::kRowMajorMemory<std::remove_cvref_t<Matrix>>,
      "heed::wrap looks at row-major memory only; heed::copy makes a row-major copy of any Eigen expression");
  const Index rows = matrix.rows(), features = matrix.cols();
  constexpr bool column = int(std::remove_cvref_t<Matrix>::ColsAtCompileTime) == 1;  // its one column is what lies together
  require<ShapeError>(rows <= 1 || column || matrix.outerStride() == features, "wrap: the rows of the ", Shape{rows, features},
      " Eigen matrix begin ", matrix.outerStride(), " elements apart, which leaves gaps; heed::copy makes a copy without");
  return TensorView<std::remove_pointer_t<decltype(matrix.data())>, 2>(matrix.data(), Shape{rows, features});
}
template <class Matrix>
  requires(detail::EigenDense<Matrix> && !std::is_lvalue_reference_v<Matrix> && detail::kOwnsElements<std::remove_cvref_t<Matrix>>)
HEED_REFUSED("wrap looks at the elements, and those of a temporary are gone before the view is used: give it a name")
void wrap(Matrix&& matrix);

/// A row-major **copy** of any Eigen expression, column-major matrices among them.
template <class Derived>
Tensor<typename Derived::Scalar, 2> copy(const Eigen::DenseBase<Derived>& matrix) {
  auto result = Tensor<typename Derived::Scalar, 2>::uninitialized({matrix.rows(), matrix.cols()});
  result.matrix() = matrix.derived();
  return result;
}

}  // namespace heed::inline HEED_ABI
