using static TorchSharp.torch;

namespace TorchSharp
{
    namespace Modules
    {
        /// <summary>Marks modules without parameters.</summary>
        public interface IParameterLessModule
        {
        }

        /// <summary>A module without parameters of its own: there is nothing to convert.</summary>
        public abstract class ParameterLessModule<T1, TResult> : nn.Module<T1, TResult>, IParameterLessModule
        {
            protected ParameterLessModule(string name)
                : base(name)
            {
            }

            public override void register_buffer(string name, Tensor tensor, bool persistent = true) => throw NothingToHold();

            public override void register_parameter(string name, Parameter param) => throw NothingToHold();

            public override void register_module(string name, nn.Module submodule) => throw NothingToHold();

            protected internal override nn.Module _to(Device device, ScalarType dtype, bool non_blocking) => this;

            protected internal override nn.Module _to(DeviceType deviceType, int deviceIndex, bool non_blocking) => this;

            protected internal override nn.Module _to(ScalarType dtype, bool non_blocking) => this;

            private InvalidOperationException NothingToHold() =>
                new($"Cannot register anything on '{GetName()}': it is a parameter-less module.");
        }

        /// <summary>y = x W^T + b, with W of [outputs, inputs].</summary>
        public sealed class Linear : nn.Module<Tensor, Tensor>
        {
            [Utils.ComponentName(Name = nameof(bias))] private Parameter? _bias;
            [Utils.ComponentName(Name = nameof(weight))] private Parameter? _weight;

            internal Linear(Parameter weight, Parameter? bias)
                : base(nameof(Linear))
            {
                in_features = weight.size(1);
                out_features = weight.size(0);
                this.weight = weight;
                if (bias is not null) this.bias = bias;
            }

            internal Linear(long inputs, long outputs, bool hasBias, Device? device, ScalarType? dtype)
                : this(new Parameter(empty(outputs, inputs, dtype, device)), hasBias ? new Parameter(empty(outputs, dtype, device)) : null)
            {
                nn.init.kaiming_uniform_(weight, Math.Sqrt(5));
                double bound = inputs > 0 ? 1 / Math.Sqrt(inputs) : 0;
                if (_bias is not null) nn.init.uniform_(_bias, -bound, bound);
            }

            public Parameter? bias
            {
                get => _bias;
                set
                {
                    _bias?.Dispose();
                    _bias = value?.DetachFromDisposeScope() as Parameter;
                    ConditionallyRegisterParameter(nameof(bias), _bias);
                }
            }

            public Parameter weight
            {
                get => _weight!;
                set
                {
                    if (ReferenceEquals(value, _weight)) return;
                    _weight?.Dispose();
                    _weight = (Parameter)value.DetachFromDisposeScope();
                    ConditionallyRegisterParameter(nameof(weight), _weight);
                }
            }

            public long in_features { get; set; }

            public long out_features { get; set; }

            public override Tensor forward(Tensor tensor) => nn.functional.linear(tensor, weight, bias);
        }

        /// <summary>Rows of a table, by number.</summary>
        public sealed class Embedding : nn.Module<Tensor, Tensor>
        {
            private readonly long _paddingIndex;
            private readonly bool _scaleByFrequency;
            private readonly double? _maxNorm;
            private readonly double _normType;
            private readonly bool _sparse;
            [Utils.ComponentName(Name = nameof(weight))] private Parameter _weight;

            internal Embedding(Tensor table, bool trained, long? paddingIndex, double? maxNorm, double normType, bool scaleByFrequency,
                bool sparse)
                : base(nameof(Embedding))
            {
                _weight = new Parameter(table, trained);
                weight = _weight;
                _paddingIndex = paddingIndex ?? -1;
                _maxNorm = maxNorm;
                _normType = normType;
                _scaleByFrequency = scaleByFrequency;
                _sparse = sparse;
            }

            public Parameter weight
            {
                get => _weight;
                set
                {
                    if (!ReferenceEquals(value, _weight)) _weight.Dispose();
                    _weight = (Parameter)value.DetachFromDisposeScope();
                    ConditionallyRegisterParameter(nameof(weight), _weight);
                }
            }

            public override Tensor forward(Tensor input)
            {
                if (_maxNorm is { } limit)
                {
                    using IDisposable unrecorded = no_grad();
                    Native.Operators.embedding_renorm_.Apply(_weight, input.contiguous(), limit, _normType);
                }
                return Native.Operators.embedding.Call(_weight, input, _paddingIndex, _scaleByFrequency, _sparse);
            }
        }

        /// <summary>Layer normalisation over the last dimensions.</summary>
        public sealed class LayerNorm : nn.Module<Tensor, Tensor>
        {
            [Utils.ComponentName(Name = nameof(bias))] private Parameter? _bias;
            [Utils.ComponentName(Name = nameof(weight))] private Parameter? _weight;

            internal LayerNorm(long[] normalizedShape, double eps, bool affine, bool hasBias, Device? device, ScalarType? dtype)
                : base(nameof(LayerNorm))
            {
                normalized_shape = normalizedShape;
                this.eps = eps;
                elementwise_affine = affine;
                if (affine) weight = new Parameter(empty(normalizedShape, dtype, device));
                if (affine && hasBias) bias = new Parameter(empty(normalizedShape, dtype, device));
                reset_parameters();
            }

            public Parameter? weight
            {
                get => _weight;
                set
                {
                    _weight?.Dispose();
                    _weight = value?.DetachFromDisposeScope() as Parameter;
                    ConditionallyRegisterParameter(nameof(weight), _weight);
                }
            }

            public Parameter? bias
            {
                get => _bias;
                set
                {
                    _bias?.Dispose();
                    _bias = value?.DetachFromDisposeScope() as Parameter;
                    ConditionallyRegisterParameter(nameof(bias), _bias);
                }
            }

            public long[] normalized_shape { get; set; }

            public double eps { get; set; }

            public bool elementwise_affine { get; set; }

            public void reset_parameters()
            {
                if (_weight is not null) nn.init.ones_(_weight);
                if (_bias is not null) nn.init.zeros_(_bias);
            }

            public override Tensor forward(Tensor tensor) => nn.functional.layer_norm(tensor, normalized_shape, weight, bias, eps);
        }
    }

    public static partial class torch
    {
        public static partial class nn
        {
            public static Modules.Linear Linear(long inputSize, long outputSize, bool hasBias = true, Device? device = null,
                ScalarType? dtype = null) =>
                new(inputSize, outputSize, hasBias, device, dtype);

            public static Modules.Linear Linear(Modules.Parameter weight, Modules.Parameter? bias = null) => new(weight, bias);

            public static Modules.Embedding Embedding(long num_embeddings, long embedding_dims, long? padding_idx = null,
                double? max_norm = null, double norm_type = 2, bool scale_grad_by_freq = false, bool sparse = false, Device? device = null,
                ScalarType? dtype = null)
            {
                Tensor table = randn(num_embeddings, embedding_dims, dtype, device);
                if (padding_idx is { } row) table[row].zero_();
                return new Modules.Embedding(table, trained: true, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse);
            }

            public static Modules.Embedding Embedding_from_pretrained(Tensor embeddings, bool freeze = true, long? padding_idx = null,
                double? max_norm = null, double norm_type = 2, bool scale_grad_by_freq = false, bool sparse = false, Device? device = null,
                ScalarType? dtype = null)
            {
                Tensor table = embeddings.detach().Placed(dtype, device ?? embeddings.device);
                return new Modules.Embedding(table, trained: !freeze, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse);
            }

            public static Modules.LayerNorm LayerNorm(long normalized_shape, double eps = 1e-5, bool elementwise_affine = true,
                bool bias = true, Device? device = null, ScalarType? dtype = null) =>
                new([normalized_shape], eps, elementwise_affine, bias, device, dtype);

            public static Modules.LayerNorm LayerNorm(long[] normalized_shape, double eps = 1e-5, bool elementwise_affine = true,
                bool bias = true, Device? device = null, ScalarType? dtype = null) =>
                new(normalized_shape, eps, elementwise_affine, bias, device, dtype);
        }
    }
}
