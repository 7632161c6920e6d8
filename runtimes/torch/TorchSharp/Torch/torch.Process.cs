using System.Runtime.InteropServices;
using TorchSharp.Native;

namespace TorchSharp;

// The state of the process and questions about types.
public static unsafe partial class torch
{
    /// <summary>The version of libtorch.</summary>
    public static string __version__ => Marshal.PtrToStringUTF8((nint)NativeMethods.sapo_version())!;

    public static int get_num_threads() => NativeMethods.sapo_threads();

    public static void set_num_threads(int num) => NativeMethods.Check(NativeMethods.sapo_set_threads(num));

    public static int get_num_interop_threads() => NativeMethods.sapo_interop_threads();

    public static void set_num_interop_threads(int num) => NativeMethods.Check(NativeMethods.sapo_set_interop_threads(num));

    public static bool are_deterministic_algorithms_enabled() => NativeMethods.sapo_deterministic() != 0;

    public static bool is_deterministic_algorithms_warn_only_enabled() => NativeMethods.sapo_deterministic_warns() != 0;

    /// <summary>Until it is disposed: operations without a deterministic implementation are errors, or warn.</summary>
    public static IDisposable use_deterministic_algorithms(bool mode = true, bool warn_only = false) =>
        new DeterministicMode(mode, warn_only);

    public static bool is_tensor(object obj) => obj is Tensor;

    public static long numel(Tensor input) => input.numel();

    public static bool is_nonzero(Tensor input) => input.is_nonzero();

    public static bool is_floating_point(Tensor input) => is_floating_point(input.dtype);

    public static bool is_floating_point(ScalarType type) =>
        type is ScalarType.Float16 or ScalarType.BFloat16 or ScalarType.Float32 or ScalarType.Float64;

    public static bool is_integral(Tensor t) => is_integral(t.dtype);

    public static bool is_integral(ScalarType type) =>
        type is ScalarType.Byte or ScalarType.Int8 or ScalarType.Int16 or ScalarType.Int32 or ScalarType.Int64;

    public static void _assert(bool condition, string message)
    {
        if (!condition) throw new InvalidOperationException(message);
    }

    public static void _assert(Func<bool> condition, string message) => _assert(condition(), message);

    private sealed class DeterministicMode : IDisposable
    {
        private readonly int _mode = NativeMethods.sapo_deterministic();
        private readonly int _warnOnly = NativeMethods.sapo_deterministic_warns();

        internal DeterministicMode(bool mode, bool warnOnly) => NativeMethods.sapo_set_deterministic(mode ? 1 : 0, warnOnly ? 1 : 0);

        public void Dispose() => NativeMethods.sapo_set_deterministic(_mode, _warnOnly);
    }
}
