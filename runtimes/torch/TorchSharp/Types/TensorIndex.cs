using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>
    /// One position of an index expression: a number, a slice, a tensor of numbers or of truth values, "..." or a new dimension.
    /// </summary>
    public struct TensorIndex
    {
        public static readonly TensorIndex Ellipsis = new(Kind.Ellipsis);

        /// <summary>A new dimension of size 1.</summary>
        public static readonly TensorIndex None = new(Kind.None);

        public static readonly TensorIndex Null = new(Kind.Null);

        /// <summary>Everything: the slice without bounds.</summary>
        public static readonly TensorIndex Colon = Slice();

        private readonly Kind _kind;
        private readonly long? _start;
        private readonly long? _stop;
        private readonly long? _step;
        private readonly Tensor? _tensor;

        private TensorIndex(Kind kind, long? start = null, long? stop = null, long? step = null, Tensor? tensor = null)
        {
            _kind = kind;
            _start = start;
            _stop = stop;
            _step = step;
            _tensor = tensor;
        }

        /// <summary>The numbers are those of the shim's enum.</summary>
        private enum Kind
        {
            None = 0,
            Single = 1,
            Null = 2,
            Ellipsis = 3,
            Bool = 4,
            Tensor = 5,
            Slice = 6,
        }

        public static implicit operator TensorIndex(long value) => Single(value);

        public static implicit operator TensorIndex(Index index) => Single(index.IsFromEnd ? -index.Value : index.Value);

        public static implicit operator TensorIndex(Range range) => Slice(range);

        public static implicit operator TensorIndex((int? start, int? end) range) => Slice(range);

        /// <summary>Exists so that an index is never silently taken for a tensor: it always throws.</summary>
        public static implicit operator Tensor(TensorIndex value) => throw new InvalidOperationException("A TensorIndex is not a Tensor.");

        public static TensorIndex Slice(long? start = null, long? stop = null, long? step = null) => new(Kind.Slice, start, stop, step);

        public static TensorIndex Slice((int? start, int? end) range) => Slice(range.start, range.end);

        public static TensorIndex Slice(Range range)
        {
            long start = range.Start.IsFromEnd ? -range.Start.Value : range.Start.Value;
            long? stop = !range.End.IsFromEnd ? range.End.Value : range.End.Value == 0 ? null : -range.End.Value;
            return Slice(start, stop);
        }

        public static TensorIndex Bool(bool value) => new(Kind.Bool, value ? 1 : 0);

        public static TensorIndex Single(long? index) => new(Kind.Single, index);

        public static TensorIndex Tensor(Tensor tensor) => new(Kind.Tensor, tensor: tensor);

        internal readonly IndexPart Part => new()
        {
            Kind = (int)_kind,
            Given = (_start.HasValue ? 1 : 0) | (_stop.HasValue ? 2 : 0) | (_step.HasValue ? 4 : 0),
            Start = _start ?? 0,
            Stop = _stop ?? 0,
            Step = _step ?? 0,
            Tensor = _tensor is null ? 0 : _tensor.Handle,
        };

        internal readonly Tensor? Held => _tensor;
    }
}
