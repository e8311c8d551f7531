// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <heed/core/parallel.hpp>
#include <heed/data/augment.hpp>
#include <heed/data/dataset.hpp>
#include <heed/data/epoch_range.hpp>
#include <heed/data/normalize.hpp>
#include <heed/data/shuffle.hpp>

namespace heed::inline HEED_ABI {

/// Some examples of a data set, ready for a model.
template <class T>
struct Batch {
  Tensor<T, 4> images;         ///< (images, height, width, channels), normalised
  std::vector<int> labels;     ///< (images)
  std::vector<Index> indices;  ///< (images): their numbers in the data set
  Index number = 0;            ///< of the batch within its epoch

  /// The number of examples.
  Index size() const { return static_cast<Index>(labels.size()); }
};

struct BatchOptions {
  Index batch_size = 256;            ///< examples a batch; the last one may have fewer
  bool shuffle = false;              ///< a new order every epoch; otherwise that of the data set
  bool drop_last = false;            ///< leave out a last batch that is not full
  bool prefetch = true;              ///< prepare the next batch on a thread of its own while this one is used
  int prefetch_threads = 1;          ///< how many threads that may take; one is enough for images in memory, decoding files may want more
  std::uint64_t seed = 0;            ///< of order and augmentation
  Augmentation augmentation = {};    ///< what is done to each image; nothing unless asked for
  Normalization normalization = {};  ///< of the pixels; without, bytes become 0 to 1
};

namespace detail {

/// The examples of a data set of any type, as scalars T.
template <class T>
class ExampleSource {
 public:
  virtual ~ExampleSource() = default;
  virtual int label(Index example) const = 0;
  /// Writes one image. `position`: its place in the batch, different for all that are written at the same time.
  virtual void write(Index example, Index position, const Placement& placement, T* out) = 0;
};

template <class T, Dataset D>
class DatasetSource final : public ExampleSource<T> {
  using P = DatasetPixel<D>;

 public:
  DatasetSource(const D& dataset, const Shape& shape, const Normalization& normalization, Index batch_size)
      : dataset_(dataset), shape_(shape), pixel_scale_(normalization, shape[2]) {
    if constexpr (!HoldsImages<D>) buffers_.resize({batch_size, shape.size()});
  }
  int label(Index example) const override { return checked_label(dataset_, example); }
  void write(Index example, Index position, const Placement& placement, T* out) override {
    const P* image = image_pixels(dataset_, example, buffers_.data() + position * (HoldsImages<D> ? 0 : shape_.size()));
    place_image(image, shape_, placement, pixel_scale_.scale.data(), pixel_scale_.shift.data(), out);
  }

 private:
  const D& dataset_;
  Shape shape_;
  PixelScale<P, T> pixel_scale_;
  Tensor<P, 2> buffers_;  // (batch size, pixels) for data that is fetched, else empty
};

}  // namespace detail

/// The batches of a data set, epoch by epoch:
///
/// ```cpp
/// Batches<float> batches(train, {.shuffle = true, .augmentation = {.translate = 2, .flip = Flip::alternating}});
/// for (const Batch<float>& batch : batches.epoch(3)) learn(batch.images, batch.labels);
/// ```
///
/// What a batch holds is a pure function of (data set, options, epoch, number of the batch): not of threads, prefetching, or what was asked
/// for before, so that a run is resumed by `epoch(e, first_batch)`. With `prefetch`, a thread that belongs to this object prepares the next
/// batch. After the first two batches nothing is allocated. Looks at the data set, which must outlive it. One thread at a time may use it.
template <class T>
class Batches {
 public:
  /// Throws std::invalid_argument or ShapeError if the options do not fit the data set, or if there would be no batch at all.
  template <Dataset D>
  Batches(const D& dataset, BatchOptions options)
      : options_(std::move(options)),
        shape_(checked_image_shape(dataset)),
        order_(static_cast<std::size_t>(std::max<Index>(dataset.size(), 0))) {
    const Index examples = dataset.size();
    require(examples > 0, "Batches: the data set is empty");
    require(options_.batch_size > 0, "Batches: batch_size is ", options_.batch_size, ", expected at least 1");
    options_.batch_size = options_.drop_last ? options_.batch_size : std::min(options_.batch_size, examples);
    count_ = options_.drop_last ? examples / options_.batch_size : (examples + options_.batch_size - 1) / options_.batch_size;
    require(count_ > 0, "Batches: ", examples, " examples do not fill one batch of ", options_.batch_size, ", and drop_last is set");
    check_augmentation(options_.augmentation, shape_);
    std::iota(order_.begin(), order_.end(), Index(0));  // stays, unless epochs are shuffled
    source_ = std::make_unique<detail::DatasetSource<T, D>>(dataset, shape_, options_.normalization, options_.batch_size);
    for (Batch<T>& batch : slots_) {
      batch.images.resize(image_shape(options_.batch_size, shape_[0], shape_[1], shape_[2]));
      batch.labels.reserve(static_cast<std::size_t>(options_.batch_size));
      batch.indices.reserve(static_cast<std::size_t>(options_.batch_size));
    }
    if (options_.prefetch) worker_ = std::thread([this] { work(); });
  }
  template <Dataset D>
  HEED_REFUSED("the data set is looked at, not copied, and a temporary is gone before it is used: give it a name")
  Batches(const D&&, BatchOptions);
  Batches(const Batches&) = delete;
  Batches& operator=(const Batches&) = delete;
  ~Batches() {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_all();
    if (worker_.joinable()) worker_.join();
  }

  /// Batches in an epoch.
  Index size() const { return count_; }
  /// Images in an epoch.
  Index examples() const { return options_.drop_last ? count_ * options_.batch_size : static_cast<Index>(order_.size()); }
  const BatchOptions& options() const { return options_; }

  /// Goes to batch `first_batch` of an epoch. Throws std::invalid_argument if there is none and it is not the end of the epoch.
  void start_epoch(Index epoch, Index first_batch = 0) {
    require(epoch >= 0 && first_batch >= 0 && first_batch <= count_, "Batches: batch ", first_batch, " of epoch ", epoch,
        " asked for, an epoch has ", count_);
    static_cast<void>(await_worker());  // what it prepared, or failed to, belongs to another epoch
    prepared_ = -1;
    next_ = first_batch, ++passes_;
    if (options_.shuffle && epoch != epoch_) shuffle_order(order_, options_.seed, epoch);
    epoch_ = epoch;
  }

  /// Epochs that were begun, whole ones or not.
  Index passes() const { return passes_; }

  /// The next batch, or null at the end of the epoch. Valid until the next call. Throws what the data set throws.
  const Batch<T>* next() {
    if (epoch_ < 0) start_epoch(0);
    const std::exception_ptr error = await_worker();
    if (next_ == count_) return nullptr;
    const bool ready = prepared_ == next_;
    prepared_ = -1;
    if (ready && error) std::rethrow_exception(error);
    Batch<T>& batch = slots_[next_ % 2];
    if (!ready) fill(batch, next_);
    ++next_;
    if (worker_.joinable() && next_ < count_) ask_worker(next_);
    return &batch;
  }

  /// The batches of epoch number `epoch`, from number `first_batch` on. A new epoch ends the one before.
  EpochRange<Batches> epoch(Index epoch, Index first_batch = 0) {
    start_epoch(epoch, first_batch);
    return EpochRange<Batches>(*this);
  }

 private:
  void fill(Batch<T>& batch, Index number) {
    const Index begin = number * options_.batch_size;
    const Index count = std::min(options_.batch_size, static_cast<Index>(order_.size()) - begin);
    batch.number = number;
    batch.images.resize(image_shape(count, shape_[0], shape_[1], shape_[2]));
    batch.labels.resize(static_cast<std::size_t>(count));
    batch.indices.assign(order_.begin() + begin, order_.begin() + begin + count);
    T* pixels = batch.images.data();
    parallel_for(count, 16, [&](Index from, Index to) {  // 16 images: some 30 microseconds of work, enough to be worth handing out
      errors_.run(from, [&] {
        for (Index i = from; i < to; ++i) {
          const Index example = batch.indices[static_cast<std::size_t>(i)];
          const Placement placement = place(options_.augmentation, shape_, options_.seed, epoch_, example);
          batch.labels[static_cast<std::size_t>(i)] = source_->label(example);
          source_->write(example, i, placement, pixels + i * shape_.size());
        }
      });
    });
    errors_.rethrow();
  }

  // The worker and its owner take turns: from ask_worker to await_worker the slots, the order and the source are the worker's.
  void work() {
    const ThreadScope threads(options_.prefetch_threads);
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return closing_ || asked_ >= 0; });
      if (closing_) return;
      const Index number = asked_;
      lock.unlock();
      detail::ErrorKeeper kept;
      kept.run(0, [&] { fill(slots_[number % 2], number); });
      lock.lock();
      error_ = kept.take();
      asked_ = -1;
      changed_.notify_all();
    }
  }
  void ask_worker(Index number) {
    prepared_ = number;
    {
      std::lock_guard lock(mutex_);
      asked_ = number;
    }
    changed_.notify_all();
  }
  /// Waits until the worker is idle. Returns the error of its last batch, if any.
  std::exception_ptr await_worker() {
    if (!worker_.joinable()) return nullptr;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return asked_ < 0; });
    return std::exchange(error_, nullptr);
  }

  BatchOptions options_;
  Shape shape_;  // {height, width, channels}
  Index count_ = 0;
  std::vector<Index> order_;
  std::unique_ptr<detail::ExampleSource<T>> source_;
  Batch<T> slots_[2];
  Index epoch_ = -1, next_ = 0, passes_ = 0;
  Index prepared_ = -1;  // number of the batch that the worker was asked for last
  detail::ErrorKeeper errors_;

  std::mutex mutex_;
  std::condition_variable changed_;
  Index asked_ = -1;  // number of the batch that the worker is at, -1 when it is idle
  std::exception_ptr error_;
  bool closing_ = false;
  std::thread worker_;  // with prefetch
};

}  // namespace heed::inline HEED_ABI
