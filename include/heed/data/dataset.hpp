// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <heed/core/parallel.hpp>
#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

/// One channel of one pixel: bytes 0 to 255, which normalisation reads as 0 to 1, or floating-point numbers in units of the data's own.
template <class P>
concept Pixel = std::same_as<P, std::uint8_t> || std::floating_point<P>;

namespace detail {
template <class D>
concept HoldsImages = requires(const D& dataset, Index example) {
  requires std::is_pointer_v<decltype(dataset.image(example))>;
  requires Pixel<std::remove_cvref_t<decltype(*dataset.image(example))>>;
};
template <class D, class P>
concept FetchesImages = requires(const D& dataset, Index example, P* pixels) {
  dataset.fetch(example, pixels);
};
}  // namespace detail

/// Images of one shape with a class each. A user's own data fits with five const functions, which several threads may call at once:
///
///     Index size() const;            // how many examples there are
///     Shape image_shape() const;     // {height, width, channels}, of every image
///     int classes() const;           // labels are 0 ... classes - 1
///     int label(Index example) const;
///     const std::uint8_t* image(Index example) const;            // data in memory: where the height x width x channels pixels lie,
///     void fetch(Index example, std::uint8_t* pixels) const;     // or data made on demand: writes them (either of the two is enough)
///
/// with `float` or `double` in place of `std::uint8_t` as you like. `class_names()`, a range of strings, is optional.
template <class D>
concept Dataset = requires(const D& dataset, Index example) {
  { dataset.size() } -> std::convertible_to<Index>;
  { dataset.image_shape() } -> std::convertible_to<Shape>;
  { dataset.classes() } -> std::convertible_to<int>;
  { dataset.label(example) } -> std::convertible_to<int>;
}
&&(detail::HoldsImages<D> || detail::FetchesImages<D, std::uint8_t> || detail::FetchesImages<D, float> || detail::FetchesImages<D, double>);

namespace detail {
template <class D>
constexpr auto pixel_of() {
  if constexpr (HoldsImages<D>) {
    return std::remove_cvref_t<decltype(*std::declval<const D&>().image(Index{}))>{};
  } else if constexpr (FetchesImages<D, std::uint8_t>) {
    return std::uint8_t{};
  } else if constexpr (FetchesImages<D, float>) {
    return float{};
  } else {
    return double{};
  }
}

/// Keeps the first error (by position) that a user's data set throws inside a parallel loop, whose body must not throw.
class ErrorKeeper {
 public:
  template <class Action>
  void run(Index position, const Action& action) noexcept {
#if defined(__cpp_exceptions)
    try {
      action();
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_ || position < position_) error_ = std::current_exception(), position_ = position;
    }
#else
    static_cast<void>(position);
    action();
#endif
  }
  /// What was kept, or null; it is forgotten.
  std::exception_ptr take() noexcept { return std::exchange(error_, nullptr); }
  /// Throws what was kept, and forgets it.
  void rethrow() {
    if (error_) std::rethrow_exception(take());
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
  Index position_ = 0;
};
}  // namespace detail

/// The type of the pixels of D: std::uint8_t, float or double.
template <Dataset D>
using DatasetPixel = decltype(detail::pixel_of<D>());

/// The height x width x channels pixels of one example: where the data set keeps them, or `buffer` after fetching them into it.
template <Dataset D>
const DatasetPixel<D>* image_pixels(const D& dataset, Index example, DatasetPixel<D>* buffer) {
  if constexpr (detail::HoldsImages<D>) {
    return dataset.image(example);
  } else {
    dataset.fetch(example, buffer);
    return buffer;
  }
}

/// The shape of the images, {height, width, channels}, checked to be three axes of at least one element. Throws ShapeError.
template <Dataset D>
Shape checked_image_shape(const D& dataset) {
  const Shape shape = dataset.image_shape();
  require<ShapeError>(shape.rank() == 3 && shape.size() > 0, "Dataset: an image shape is {height, width, channels}, found ", shape);
  return shape;
}

/// The label of one example. Throws std::invalid_argument unless it lies in 0 ... classes - 1.
template <Dataset D>
int checked_label(const D& dataset, Index example) {
  const int label = dataset.label(example), classes = dataset.classes();
  require(label >= 0 && label < classes, "Dataset: example ", example, " has label ", label, ", expected 0 to ", classes - 1);
  return label;
}

/// The name of a class, or "class 3" for data without names.
template <Dataset D>
std::string class_name(const D& dataset, int label) {
  if constexpr (requires {
                  std::string(dataset.class_names()[0]);
                  std::size(dataset.class_names());
                }) {
    if (label >= 0 && static_cast<std::size_t>(label) < std::size(dataset.class_names()))
      return std::string(dataset.class_names()[static_cast<std::size_t>(label)]);
  }
  return text("class ", label);
}

/// The names of all classes, "class 0", "class 1", ... for data without names.
template <Dataset D>
std::vector<std::string> class_names(const D& dataset) {
  std::vector<std::string> names;
  for (int label = 0; label < dataset.classes(); ++label) names.push_back(class_name(dataset, label));
  return names;
}

/// Byte images in memory with their labels. Copies and parts share the pixels, which never change: a part costs nothing.
class ImageDataset {
 public:
  ImageDataset() = default;
  /// `images` is (images, height, width, channels), `labels` holds one label 0 ... classes - 1 an image, `names` one name a class or nothing.
  /// Throws ShapeError or std::invalid_argument.
  ImageDataset(Tensor<std::uint8_t, 4> images, std::vector<int> labels, int classes, std::vector<std::string> names = {}) {
    const Index count = images.shape().rank() == 0 ? 0 : images.size(0);
    require<ShapeError>(count == static_cast<Index>(labels.size()), "ImageDataset: ", count, " images, but ", labels.size(), " labels");
    require(classes > 0, "ImageDataset: ", classes, " classes; at least one is needed");
    require(names.empty() || names.size() == static_cast<std::size_t>(classes), "ImageDataset: ", names.size(), " class names for ",
        classes, " classes");
    for (std::size_t i = 0; i < labels.size(); ++i)
      require(labels[i] >= 0 && labels[i] < classes, "ImageDataset: image ", i, " has label ", labels[i], ", expected 0 to ", classes - 1);
    size_ = count;
    content_ = std::make_shared<const Content>(Content{std::move(images), std::move(labels), std::move(names), classes});
  }

  Index size() const { return size_; }
  /// {height, width, channels}
  Shape image_shape() const {
    if (!content_) return {0, 0, 0};
    const Shape& shape = content_->images.shape();
    return {shape[1], shape[2], shape[3]};
  }
  int classes() const { return content_ ? content_->classes : 0; }
  /// Empty if the classes have no names.
  const std::vector<std::string>& class_names() const {
    static const std::vector<std::string> none;
    return content_ ? content_->names : none;
  }
  /// The pixels, height x width x channels, as long as a copy or part of this set lives.
  const std::uint8_t* image(Index example) const { return images().data() + example * image_shape().size(); }
  int label(Index example) const { return labels()[static_cast<std::size_t>(example)]; }

  /// (images, height, width, channels)
  TensorView<const std::uint8_t, 4> images() const {
    return content_ ? content_->images.slice(begin_, begin_ + size_) : TensorView<const std::uint8_t, 4>();
  }
  /// The classes of all examples, in their order.
  std::span<const int> labels() const {
    if (!content_) return {};
    return std::span<const int>(content_->labels).subspan(static_cast<std::size_t>(begin_), static_cast<std::size_t>(size_));
  }

  /// Examples `begin` to `end`. Throws std::invalid_argument if they are not there.
  ImageDataset range(Index begin, Index end) const {
    require(0 <= begin && begin <= end && end <= size_, "ImageDataset: examples ", begin, " to ", end, " asked for, the set has ", size_);
    ImageDataset part = *this;
    part.begin_ += begin;
    part.size_ = end - begin;
    return part;
  }
  /// The first `count` examples. Throws std::invalid_argument if there are fewer.
  ImageDataset first(Index count) const { return range(0, count); }
  /// The last `count` examples. Throws std::invalid_argument if there are fewer.
  ImageDataset last(Index count) const { return range(size_ - count, size_); }

 private:
  struct Content {
    Tensor<std::uint8_t, 4> images;
    std::vector<int> labels;
    std::vector<std::string> names;
    int classes;
  };

  std::shared_ptr<const Content> content_;
  Index begin_ = 0, size_ = 0;
};

static_assert(Dataset<ImageDataset>);

/// Some examples of another data set, in the order of their indices. Looks at the data set, which must outlive it.
template <Dataset D>
class Subset {
 public:
  /// Throws std::invalid_argument if an index is not 0 ... dataset.size() - 1.
  Subset(const D& dataset, std::vector<Index> indices) : dataset_(&dataset), indices_(std::move(indices)) {
    for (Index index : indices_)
      require(index >= 0 && index < dataset.size(), "Subset: example ", index, " asked for, the set has ", dataset.size());
  }
  HEED_REFUSED("the data set is looked at, not copied, and a temporary is gone before it is used: give it a name")
  Subset(const D&&, std::vector<Index>);

  Index size() const { return static_cast<Index>(indices_.size()); }
  Shape image_shape() const { return dataset_->image_shape(); }
  int classes() const { return dataset_->classes(); }
  std::vector<std::string> class_names() const { return heed::class_names(*dataset_); }
  int label(Index example) const { return dataset_->label(index(example)); }
  /// The pixels of an example, where the whole data set holds them.
  auto image(Index example) const requires detail::HoldsImages<D> { return dataset_->image(index(example)); }
  /// Writes the pixels of an example, where the whole data set makes them.
  void fetch(Index example, DatasetPixel<D>* pixels) const requires(!detail::HoldsImages<D>) { dataset_->fetch(index(example), pixels); }
  /// The example's number in the whole data set.
  Index index(Index example) const { return indices_[static_cast<std::size_t>(example)]; }

 private:
  const D* dataset_;
  std::vector<Index> indices_;
};

/// The first `count` examples of any data set, which must outlive the result. Throws std::invalid_argument if it has fewer.
template <Dataset D>
Subset<D> first(const D& dataset, Index count) {
  require(count >= 0 && count <= dataset.size(), "first: ", count, " examples asked for, the set has ", dataset.size());
  std::vector<Index> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), Index{0});
  return {dataset, std::move(indices)};
}
/// The last `count` examples of any data set, which must outlive the result. Throws std::invalid_argument if it has fewer.
template <Dataset D>
Subset<D> last(const D& dataset, Index count) {
  require(count >= 0 && count <= dataset.size(), "last: ", count, " examples asked for, the set has ", dataset.size());
  std::vector<Index> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), dataset.size() - count);
  return {dataset, std::move(indices)};
}
template <Dataset D>
HEED_REFUSED("the data set is looked at, not copied, and a temporary is gone before it is used: give it a name")
Subset<D> first(const D&& dataset, Index count);
template <Dataset D>
HEED_REFUSED("the data set is looked at, not copied, and a temporary is gone before it is used: give it a name")
Subset<D> last(const D&& dataset, Index count);

/// What a model learns from and what it is judged by.
struct TrainTest {
  ImageDataset train, test;  ///< byte images with labels
};

}  // namespace heed::inline HEED_ABI
