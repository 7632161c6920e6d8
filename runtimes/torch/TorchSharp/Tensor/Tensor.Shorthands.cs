using TorchSharp.Native;

namespace TorchSharp;

// Properties and conversions of arguments that the other files share.
public static partial class torch
{
    public partial class Tensor
    {
        /// <summary>The dimensions in reverse order.</summary>
        public Tensor T => Operators.numpy_T.Call(this);

        /// <summary>The last two dimensions swapped.</summary>
        public Tensor mT => Operators.mT.Call(this);

        public IList<Tensor> nonzero_as_list() => Operators.nonzero_numpy.CallList(this);

        private static string? Name(RoundingMode mode) => mode == RoundingMode.None ? null : mode.ToString();

        /// <summary>A result in the type asked for, if one was.</summary>
        private static Tensor AsType(Tensor result, ScalarType? type) => type is { } wanted && wanted != result.dtype ? result.to(wanted,
            disposeAfter: true) : result;
    }
}
