// SPDX-License-Identifier: MIT
#pragma once

/// Names without definitions, for headers that mention heed's types and do not use them: members held by pointer, arguments by reference. It costs a compiler next to
/// nothing. Arguments of templates that have a default have it here,
/// but for Predictor's rank and Trainer's loss, which ask the model.
#include <heed/core/config.hpp>

namespace heed::inline HEED_ABI {

// Tensors
class Shape;
template <class T>
class Parameter;
template <class T, int Rank>
class TensorView;
template <class T, int Rank>
class Tensor;

// Layers
enum class AttentionKind;
struct AttentionFusionOptions;
class AttentionObserver;
struct AvgPool1dOptions;
struct AvgPool2dOptions;
struct BatchNormOptions;
struct Conv1dOptions;
struct Conv2dOptions;
struct DropoutOptions;
class DropoutKey;
struct EluOptions;
struct EmbeddingOptions;
enum class GeluApproximation;
struct GeluOptions;
struct GroupNormOptions;
struct LayerNormOptions;
struct LeakyReluOptions;
struct LinearOptions;
struct LogSoftmaxOptions;
struct MaxPool1dOptions;
struct MaxPool2dOptions;
struct MultiHeadAttentionOptions;
struct OutputProjectionOptions;
enum class PositionKind;
enum class PositionUse;
struct PositionalEncodingOptions;
struct QkvProjectionOptions;
struct RelativePositionBiasOptions;
struct RMSNormOptions;
struct RotaryEmbeddingOptions;
struct RotaryPositions;
enum class CausalAlignment;
enum class AttentionStage;
struct ScaledDotProductAttentionOptions;
struct SequencePoolOptions;
struct SiluOptions;
struct Size2d;
struct Padding2d;
struct Padding1d;
struct SoftmaxOptions;
enum class FeedForwardActivation;
struct TransformerEncoderLayerOptions;
class Window2d;
template <class Derived, class T>
class ActivationLayer;
template <class T>
class AttentionFusion;
template <class M>
class MaskView;
template <class T>
struct AttentionMask;
template <class T>
class TorchAttentionMask;
template <class T>
class AvgPool1d;
template <class T>
class AvgPool2d;
template <class Derived, class T, int Rank, class Options>
class AvgPoolLayer;
template <class T>
class BatchNorm1d;
template <class T>
class BatchNorm2d;
template <class Derived, class T>
class BatchNormLayer;
template <class T>
class Conv1d;
template <class T>
class Conv2d;
template <class T>
class MaxPool2d;
template <class Derived, class T, int Rank, class Options>
class ConvLayer;
template <class T>
class Dropout;
template <class T>
class Elu;
template <class T>
class Embedding;
template <class T, int InputRank = 4>
class Flatten;
template <class T>
class Gelu;
template <class T>
class GlobalAvgPool1d;
template <class T>
class GlobalAvgPool2d;
template <class Derived, class T, int Rank>
class GlobalAvgPoolLayer;
template <class T>
class GlobalMaxPool1d;
template <class T>
class GlobalMaxPool2d;
template <class Derived, class T, int Rank>
class GlobalMaxPoolLayer;
template <class T>
class GroupNorm;
struct DecodePosition;
template <class T>
class KeyValueCache;
template <class T>
class LayerNorm;
template <class T>
class LeakyRelu;
template <class T>
class Linear;
template <class Derived, class T>
class LinearLayer;
template <class T>
class LogSoftmax;
template <class T>
class MaxPool1d;
template <class Derived, class T, int Rank, class Options>
class MaxPoolLayer;
template <class T>
class MultiHeadAttention;
template <class T>
class OutputProjection;
template <class T>
class PositionalEncoding;
template <class T>
class QkvProjection;
template <class T>
class RelativePositionBias;
template <class T>
class Relu;
template <class T>
class RMSNorm;
template <class T>
class RotaryEmbedding;
template <class Derived, class T>
class RowNormLayer;
template <class T>
class ScaledDotProductAttention;
template <class T, int InputRank = 3>
class SequencePool;
template <class T>
class Sigmoid;
template <class T>
class Silu;
template <class T>
class Softmax;
template <class Derived, class T>
class SoftmaxLayer;
template <class T>
class Tanh;
template <class T>
class TransformerEncoderLayer;
using BatchNorm1dOptions = BatchNormOptions;
using BatchNorm2dOptions = BatchNormOptions;

// Models of layers
template <class T, int InRank, int OutRank = InRank, class X = T>
class AnyLayer;
template <class Model, int Rank>
class Predictor;
template <class Branch, class Shortcut = void>
class Residual;
template <class L>
struct Named;
template <class First, class... Rest>
class Sequential;
template <class Block>
class Stack;

// Losses
struct BCEWithLogitsLossOptions;
struct ClassWeights;
struct CrossEntropyOptions;
enum class Reduction;
struct MSELossOptions;
struct NLLLossOptions;
template <class T>
class BCEWithLogitsLoss;
class ClassLabels;
template <class T>
class CrossEntropyLoss;
template <class T, class Derived>
class LossBase;
template <class T>
class MSELoss;
template <class T>
class NLLLoss;

// Optimisers, schedules and averages of weights
struct AdamChanges;
enum class AdjustLr;
struct MuonOptions;
struct MuonChanges;
struct NamedStepCount;
enum class Decay;
struct ConstantSchedule;
struct WarmupSchedule;
struct StepSchedule;
struct OneCycleSchedule;
struct SgdOptions;
struct SgdChanges;
struct WeightAverageOptions;
template <bool decoupled>
struct BasicAdamOptions;
template <class T, bool decoupled>
class BasicAdam;
template <class T>
class JointOptimizer;
template <class T>
class Muon;
template <class T>
struct NamedState;
template <class T>
class Optimizer;
template <class T>
class ParameterOptimizer;
template <class Changes>
struct ParameterRule;
template <class T>
class Sgd;
template <class T>
class WeightAverage;
template <class T>
class AverageScope;
using AdamOptions = BasicAdamOptions<false>;
using AdamWOptions = BasicAdamOptions<true>;
template <class T>
using Adam = BasicAdam<T, false>;
template <class T>
using AdamW = BasicAdam<T, true>;

// Data, files and training
class ImageDataset;
struct Augmentation;
template <class T>
struct Batch;
template <class T>
class Batches;
template <class X, int Rank, class Targets>
class TensorBatches;
template <class Source>
class EpochRange;
class SafetensorsReader;
class SafetensorsWriter;
class Communicator;
struct TrainerOptions;
template <class Model, class Loss>
class Trainer;

}  // namespace heed::inline HEED_ABI
