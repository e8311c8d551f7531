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

namespace heed {

/// A row-major Eigen matrix over memory that it does not own; T may be const.
template <class T>
using MatrixMap = Eigen::Map<
    std::conditional_t<std::is_const_v<T>, const Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>,
        Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>>;

/// Pointer and shape of row-major elements that somebody else owns. Free to make and to copy; const T for reading only.
/// Kernels take views. A view is valid as long as the memory it looks at.
template <class T, int Rank>
class TensorView {
 public:
  static constexpr int rank = Rank;
  using scalar = std::remove_const_t<T>;

  TensorView() = default;
  /// Wraps `data`, which holds `shape.size()` elements. Throws ShapeError if the shape has another rank.
  TensorView(T* data, const Shape& shape) : data_(data), shape_(shape) {
    require<ShapeError>(shape.rank() == Rank, "TensorView: shape ", shape, " has rank ", shape.rank(), ", the type says ", Rank);
  }

  T* data() const { return data_; }
  const Shape& shape() const { return shape_; }
  Index size() const { return shape_.rank() == 0 && Rank > 0 ? 0 : shape_.size(); }
  bool empty() const { return size() == 0; }
  Index size(int axis) const { return shape_[axis]; }
  Index rows() const { return shape_.rows(); }
  Index features() const { return shape_.features(); }
  std::span<T> span() const { return {data_, static_cast<std::size_t>(size())}; }

  /// The element at one position an axis.
  template <class... Positions>
  T& operator()(Positions... positions) const {
    static_assert(sizeof...(Positions) == Rank, "heed::TensorView: give one position for each axis");
    Index offset = 0;
    int axis = 0;
    ((offset = offset * shape_[axis++] + static_cast<Index>(positions)), ...);
    HEED_ASSERT(offset >= 0 && offset < size());
    return data_[offset];
  }
  T& operator[](Index element) const { return data_[element]; }

  /// The tensor as rows x features.
  MatrixMap<T> matrix() const { return {data_, rows(), features()}; }
  TensorView<T, 2> as_rows() const { return {data_, Shape{rows(), features()}}; }
  /// The same elements under another shape of equal size.
  template <int NewRank>
  TensorView<T, NewRank> reshaped(const Shape& shape) const {
    require<ShapeError>(shape.size() == size(), "reshape: ", shape_, " has ", size(), " elements, ", shape, " has ", shape.size());
    return {data_, shape};
  }
  /// Elements `begin` to `end` of the outermost axis.
  TensorView slice(Index begin, Index end) const {
    Shape part = shape_;
    part[0] = end - begin;
    return {data_ + begin * (shape_[0] == 0 ? 0 : size() / shape_[0]), part};
  }

 protected:
  T* data_ = nullptr;
  Shape shape_;
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
  Tensor(const Tensor& other) : Tensor() { *this = other; }
  Tensor(Tensor&& other) noexcept : Tensor() { swap(other); }
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

  /// Zeros that are here to stay (gradients, optimiser state): their memory comes from the system and not from the pool's idle buffers.
  static Tensor lasting(const Shape& shape) {
    Tensor result;
    result.resize(shape, true);
    result.fill(T(0));
    return result;
  }

  /// Gives the memory back to the pool.
  void release() noexcept { Tensor().swap(*this); }

  /// Takes the shape; keeps the memory if it is large enough. The elements are unspecified afterwards. (`fresh`: see `lasting`.)
  void resize(const Shape& shape, bool fresh = false) {
    require<ShapeError>(shape.rank() == Rank, "Tensor: shape ", shape, " has rank ", shape.rank(), ", the type says ", Rank);
    const Index count = shape.size();
    if (count > capacity_) {
      free();
      auto* memory = static_cast<T*>(BufferPool::instance().acquire(static_cast<std::size_t>(count) * sizeof(T), fresh));
      if constexpr (!std::is_trivially_default_constructible_v<T>) std::uninitialized_value_construct_n(memory, count);
      this->data_ = memory;
      capacity_ = count;
    }
    this->shape_ = shape;
  }
  /// The elements as one axis; the memory moves along, so views of this tensor stay valid as long as the result lives.
  Tensor<T, 1> flattened() && {
    Tensor<T, 1> result;
    result.data_ = std::exchange(this->data_, nullptr);
    result.shape_ = Shape{std::exchange(this->shape_, Shape{}).size()};
    result.capacity_ = std::exchange(capacity_, 0);
    return result;
  }
  void fill(const T& value) { std::fill_n(data(), this->size(), value); }
  void swap(Tensor& other) noexcept {
    std::swap(this->data_, other.data_);
    std::swap(this->shape_, other.shape_);
    std::swap(capacity_, other.capacity_);
  }

  using Base::data;
  using Base::matrix;
  using Base::span;
  using Base::operator();
  using Base::operator[];
  T* data() { return const_cast<T*>(this->data_); }  // the elements are ours and were never const
  TensorView<T, Rank> view() { return {data(), this->shape_}; }
  MatrixMap<T> matrix() { return view().matrix(); }
  std::span<T> span() { return view().span(); }
  template <class... Positions>
  T& operator()(Positions... positions) {
    return view()(positions...);
  }
  T& operator[](Index element) { return data()[element]; }

 private:
  template <class, int>
  friend class Tensor;

  void free() noexcept {
    if constexpr (!std::is_trivially_destructible_v<T>) std::destroy_n(data(), capacity_);
    BufferPool::instance().release(data(), static_cast<std::size_t>(capacity_) * sizeof(T));
    this->data_ = nullptr;
    capacity_ = 0;
  }

  Index capacity_ = 0;
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

/// Looks at a row-major Eigen matrix (or array, or map of one) without a copy, as rows x features.
template <class Derived>
  requires(bool(Derived::IsRowMajor) && (int(Derived::Flags) & Eigen::DirectAccessBit) != 0)
TensorView<const typename Derived::Scalar, 2> wrap(const Eigen::PlainObjectBase<Derived>& matrix) {
  return {matrix.data(), Shape{matrix.rows(), matrix.cols()}};
}

/// A row-major **copy** of any Eigen expression, column-major matrices among them.
template <class Derived>
Tensor<typename Derived::Scalar, 2> copy(const Eigen::DenseBase<Derived>& matrix) {
  auto result = Tensor<typename Derived::Scalar, 2>::uninitialized({matrix.rows(), matrix.cols()});
  result.matrix() = matrix.derived();
  return result;
}

}  // namespace heed
