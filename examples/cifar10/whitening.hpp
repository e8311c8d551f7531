// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <vector>

#include <Eigen/Eigenvalues>

#include <heed/core/layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/data/batches.hpp>

namespace cifar10 {

/// The 12 x 12 second moments of all 2 x 2 patches of some images (images, height, width, 3), in the order (channel, row, column) of
/// convolution weights.
template <class T>
Eigen::MatrixXd patch_moments(const heed::TensorView<const T, 4>& images) {
  constexpr heed::Index kPatch = 12;
  const heed::Index height = images.size(1), width = images.size(2);
  heed::require<heed::ShapeError>(
      images.size(3) == 3 && height >= 2 && width >= 2, "whitening: images are ", images.shape(), ", expected 3 channels");
  Eigen::Matrix<double, kPatch, kPatch, Eigen::RowMajor> sums = Eigen::Matrix<double, kPatch, kPatch, Eigen::RowMajor>::Zero();
  heed::parallel_sum(images.size(0), 16, kPatch * kPatch, sums.data(), [&](heed::Index begin, heed::Index end, double* partial) {
    Eigen::Map<Eigen::Matrix<double, kPatch, kPatch, Eigen::RowMajor>> moments(partial);
    Eigen::Matrix<double, kPatch, 1> patch;
    for (heed::Index n = begin; n < end; ++n)
      for (heed::Index y = 0; y + 1 < height; ++y)
        for (heed::Index x = 0; x + 1 < width; ++x) {
          for (heed::Index i = 0; i < kPatch; ++i) patch[i] = static_cast<double>(images(n, y + i / 2 % 2, x + i % 2, i / 4));
          moments.noalias() += patch * patch.transpose();
        }
  });
  return sums / static_cast<double>(images.size(0) * (height - 1) * (width - 1));
}

/// Sets a 2 x 2 convolution weight (24, 3, 2, 2) to the eigenvectors of the patches' second moments, each divided by √(eigenvalue + eps), largest
/// first, and then to the same with the other sign: on such images the 12 numbers that come out are uncorrelated and of equal size
/// (K. Jordan 2024; Page 2019).
template <class T>
void set_whitening(const heed::TensorView<const T, 4>& images, heed::Parameter<T>& weight) {
  constexpr double kEps = 5e-4;  // directions of less variance than a few thousandths of a pixel's are noise and not blown up
  heed::require<heed::ShapeError>(weight.shape() == heed::Shape{24, 3, 2, 2}, "whitening: the weight is ", weight.shape());
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(patch_moments(images));
  for (heed::Index k = 0; k < 12; ++k) {
    const heed::Index from = 11 - k;  // the solver sorts upwards
    Eigen::VectorXd direction = solver.eigenvectors().col(from) / std::sqrt(solver.eigenvalues()[from] + kEps);
    Eigen::Index largest = 0;
    direction.cwiseAbs().maxCoeff(&largest);
    if (direction[largest] < 0) direction = -direction;  // the solver's sign is arbitrary
    for (heed::Index i = 0; i < 12; ++i) {
      weight.value()[k * 12 + i] = static_cast<T>(direction[i]);
      weight.value()[(k + 12) * 12 + i] = static_cast<T>(-direction[i]);
    }
  }
}

/// The same for the parameter "whiten.weight" of a net.
template <class Net, class T>
void set_whitening(Net& net, const heed::Tensor<T, 4>& images) {
  for (const auto& [name, parameter] : heed::named_parameters(net))
    if (name == "whiten.weight") return set_whitening<T>(images, *parameter);
  heed::fail("whitening: the net has no parameter whiten.weight");
}

/// The first `count` images of a data set, normalised.
template <class T, heed::Dataset D>
heed::Tensor<T, 4> first_images(const D& dataset, heed::Index count, const heed::Normalization& normalization) {
  heed::Batches<T> batches(
      dataset, {.batch_size = std::min<heed::Index>(count, dataset.size()), .prefetch = false, .normalization = normalization});
  return batches.next()->images;
}

}  // namespace cifar10
