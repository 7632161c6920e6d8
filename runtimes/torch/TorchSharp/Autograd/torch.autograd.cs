using System.Runtime.InteropServices;
using TorchSharp.Native;

namespace TorchSharp;

// Differentiation: backward and grad, and the modes in which operations are recorded or not.
public static partial class torch
{
    public static bool is_grad_enabled() => NativeMethods.sapo_grad_enabled() != 0;

    public static bool is_inference_mode_enabled() => NativeMethods.sapo_inference_enabled() != 0;

    /// <summary>Until it is disposed, on this thread: operations are not recorded.</summary>
    public static IDisposable no_grad() => new GradMode(false);

    public static IDisposable enable_grad(bool enabled = true) => new GradMode(enabled);

    public static IDisposable set_grad_enabled(bool mode = true) => new GradMode(mode);

    /// <summary>Until it is disposed, on this thread: as no_grad, and the tensors made can never be part of a graph.</summary>
    public static IDisposable inference_mode(bool mode = true) => new InferenceMode(mode);

    private sealed class GradMode : IDisposable
    {
        private readonly int _before = NativeMethods.sapo_grad_enabled();
        private bool _ended;

        internal GradMode(bool enabled) => NativeMethods.sapo_set_grad_enabled(enabled ? 1 : 0);

        public void Dispose()
        {
            if (_ended) return;
            _ended = true;
            NativeMethods.sapo_set_grad_enabled(_before);
        }
    }

    private sealed class InferenceMode(bool mode) : IDisposable
    {
        private nint _guard = NativeMethods.sapo_inference_enter(mode ? 1 : 0);

        public void Dispose()
        {
            if (_guard != 0) NativeMethods.sapo_inference_leave(_guard);
            _guard = 0;
        }
    }

    /// <summary>Gradients.</summary>
    public static unsafe partial class autograd
    {
        /// <summary>The gradients of the outputs with respect to the inputs; null for an unused input, where that is allowed.</summary>
        public static IList<Tensor> grad(IList<Tensor> outputs, IList<Tensor> inputs, IList<Tensor>? grad_outputs = null,
            bool retain_graph = false, bool create_graph = false, bool allow_unused = false)
        {
            nint[] outputHandles = Handles(outputs), inputHandles = Handles(inputs), gradientHandles = Handles(grad_outputs);
            var results = new nint[inputHandles.Length];
            fixed (nint* o = outputHandles, i = inputHandles, g = gradientHandles, r = results)
                Check(NativeMethods.sapo_grad(o, outputHandles.Length, i, inputHandles.Length, g, gradientHandles.Length,
                    Flag(retain_graph || create_graph), Flag(create_graph), Flag(allow_unused), r));
            KeepAlive(outputs, inputs, grad_outputs);
            return Array.ConvertAll(results, handle => handle == 0 ? null! : new Tensor(handle));
        }

        public static void backward(IList<Tensor> tensors, IList<Tensor>? grad_tensors = null, bool? retain_graph = null,
            bool create_graph = false, IList<Tensor>? inputs = null) =>
            Backward(tensors, grad_tensors, retain_graph ?? create_graph, create_graph, inputs);

        public static void backward(Tensor tensor, IList<Tensor>? grad_tensors = null, bool? retain_graph = null,
            bool create_graph = false, IList<Tensor>? inputs = null) =>
            Backward([tensor], grad_tensors, retain_graph ?? create_graph, create_graph, inputs);

        public static void backward(Tensor tensor, Tensor grad_tensor, bool? retain_graph = null, bool create_graph = false,
            IList<Tensor>? inputs = null) =>
            Backward([tensor], [grad_tensor], retain_graph ?? create_graph, create_graph, inputs);

        /// <summary>Until it is disposed: errors in backward name the forward operation, and NaN in a gradient is an error.</summary>
        public static AnomalyMode detect_anomaly(bool check_nan = true) => new(true, check_nan);

        public static AnomalyMode set_detect_anomaly(bool mode, bool check_nan = true) => new(mode, check_nan);

        internal static void Backward(IList<Tensor> tensors, IList<Tensor>? gradients, bool retainGraph, bool createGraph,
            IList<Tensor>? inputs)
        {
            nint[] tensorHandles = Handles(tensors), gradientHandles = Handles(gradients), inputHandles = Handles(inputs);
            fixed (nint* t = tensorHandles, g = gradientHandles, i = inputHandles)
                Check(NativeMethods.sapo_backward(t, tensorHandles.Length, g, gradientHandles.Length, Flag(retainGraph), Flag(createGraph),
                    i, inputHandles.Length));
            KeepAlive(tensors, gradients, inputs);
        }

        internal static nint[] Handles(IList<Tensor>? tensors)
        {
            if (tensors is null) return [];
            var handles = new nint[tensors.Count];
            for (int i = 0; i < handles.Length; i++) handles[i] = tensors[i] is null || tensors[i].IsInvalid ? 0 : tensors[i].Handle;
            return handles;
        }

        internal static void KeepAlive(params ReadOnlySpan<IEnumerable<Tensor>?> lists)
        {
            foreach (IEnumerable<Tensor>? list in lists) GC.KeepAlive(list);
        }

        /// <summary>The exception of a managed backward goes on as the cause of libtorch's.</summary>
        private static void Check(byte* message)
        {
            if (message is null) return;
            Exception? cause = NodeContext.TakeFailure();
            string text = Marshal.PtrToStringUTF8((nint)message)!;
            bool isCause = cause is not null && text.Contains(cause.Message, StringComparison.Ordinal);
            throw isCause ? new ExternalException(text, cause) : new ExternalException(text);
        }

        private static int Flag(bool value) => value ? 1 : 0;
    }
}

/// <summary>A time in which libtorch looks for mistakes in backward.</summary>
public class AnomalyMode : IDisposable
{
    private readonly bool _wasEnabled = IsEnabled;
    private readonly bool _checkedNaN = ShouldCheckNaN;

    public AnomalyMode(bool enabled, bool check_nan = true) => NativeMethods.sapo_set_anomaly(enabled ? 1 : 0, check_nan ? 1 : 0);

    public static bool IsEnabled => NativeMethods.sapo_anomaly_enabled() != 0;

    public static bool ShouldCheckNaN => NativeMethods.sapo_anomaly_checks_nan() != 0;

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
        if (disposing) NativeMethods.sapo_set_anomaly(_wasEnabled ? 1 : 0, _checkedNaN ? 1 : 0);
    }
}
