using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp.Native;
using static TorchSharp.torch;
using static TorchSharp.torch.autograd;

namespace TorchSharp;

/// <summary>
/// The managed half of a graph node (autograd.cpp, ManagedNode). The native half holds it by a GCHandle from its making
/// to its end, which is the graph's; it is called on the thread that runs backward (on CUDA, one of the engine's).
/// </summary>
internal sealed unsafe class NodeContext
{
    [ThreadStatic] private static nint t_message;
    private static Exception? s_failure;

    private readonly string _name;
    private readonly bool[] _isTensor;
    private readonly Func<AutogradContext, List<Tensor>, List<Tensor>> _backward;
    private readonly List<(long[] Shape, ScalarType Type, Device Device)> _outputs = [];
    private nint _holder;
    private nint _node;

    internal NodeContext(string name, bool[] isTensor, Func<AutogradContext, List<Tensor>, List<Tensor>> backward)
    {
        _name = name;
        _isTensor = isTensor;
        _backward = backward;
        Context = new AutogradContext(this);
    }

    internal AutogradContext Context { get; }

    /// <summary>The exception that ended the last backward, once.</summary>
    internal static Exception? TakeFailure() => Interlocked.Exchange(ref s_failure, null);

    /// <summary>Makes the native half over the tensor inputs, to be held while forward runs.</summary>
    internal Building Build(List<Tensor> inputs)
    {
        nint[] handles = Handles(inputs);
        fixed (nint* pointer = handles)
            NativeMethods.Check(NativeMethods.sapo_node_create(pointer, handles.Length, GCHandle.ToIntPtr(GCHandle.Alloc(this)), &Apply,
                &Release, out _holder));
        KeepAlive(inputs);
        _node = NativeMethods.sapo_node_address(_holder);
        return new Building(this);
    }

    internal void Save(List<Tensor> tensors)
    {
        if (_holder == 0) throw new InvalidOperationException("save_for_backward belongs into forward.");
        nint[] handles = Handles(tensors);
        fixed (nint* pointer = handles) NativeMethods.Check(NativeMethods.sapo_node_save(_holder, pointer, handles.Length));
        KeepAlive(tensors);
    }

    internal List<Tensor> Saved()
    {
        var handles = new nint[NativeMethods.sapo_node_saved_count(_node)];
        fixed (nint* pointer = handles) NativeMethods.Check(NativeMethods.sapo_node_saved(_node, pointer));
        return [.. handles.Select(handle => handle == 0 ? null! : new Tensor(handle))];
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Release(nint context)
    {
        GCHandle handle = GCHandle.FromIntPtr(context);
        ((NodeContext)handle.Target!).Context.Dispose();
        handle.Free();
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static byte* Apply(nint context, nint* gradients, int count, nint* results, int resultCount)
    {
        try
        {
            ((NodeContext)GCHandle.FromIntPtr(context).Target!).Backward(new(gradients, count), new(results, resultCount));
            return null;
        }
        catch (Exception failure)
        {
            s_failure = failure;
            Marshal.FreeCoTaskMem(t_message);
            t_message = Marshal.StringToCoTaskMemUTF8(failure.Message);
            return (byte*)t_message;
        }
    }

    private void Backward(ReadOnlySpan<nint> gradients, Span<nint> results)
    {
        var received = new List<Tensor>(gradients.Length);
        for (int i = 0; i < gradients.Length; i++) received.Add(Received(gradients[i], i));
        List<Tensor> returned = _backward(Context, received);
        for (int i = _isTensor.Length; i < returned.Count; i++)
            if (returned[i] is { IsInvalid: false }) throw WrongCount(returned.Count);
        if (returned.Count < _isTensor.Length) throw WrongCount(returned.Count);
        int next = 0;
        for (int i = 0; i < _isTensor.Length; i++)
        {
            bool given = returned[i] is { IsInvalid: false };
            if (!_isTensor[i] && given)
                throw new NotImplementedException($"Function {_name} returned a gradient at position {i + 1}, but the forward input there was not a Tensor");
            if (_isTensor[i]) results[next++] = given ? NativeMethods.sapo_tensor_share(returned[i].Handle) : 0;
        }
        GC.KeepAlive(returned);
    }

    private Tensor Received(nint gradient, int output)
    {
        if (gradient != 0 || !Context.MaterializeGrads) return new Tensor(gradient);
        (long[] shape, ScalarType type, Device device) = _outputs[output];
        return zeros(shape, type, device);
    }

    private NotImplementedException WrongCount(int found) =>
        new($"Function {_name} returned an incorrect number of gradients (expected {_isTensor.Length}), got {found}");

    /// <summary>The time from the making of a node to the end of forward, in which this side holds it.</summary>
    internal readonly struct Building(NodeContext node) : IDisposable
    {
        /// <summary>Makes the outputs the node's, as new handles, and the tensors to save its saved variables.</summary>
        internal List<Tensor> Join(List<Tensor> inputs, List<Tensor> outputs)
        {
            foreach (Tensor output in outputs) node._outputs.Add((output.shape, output.dtype, output.device));
            nint[] inputHandles = Handles(inputs), outputHandles = Handles(outputs);
            nint[] fixedHandles = Handles(node.Context.NonDifferentiable), dirtyHandles = Handles(node.Context.Dirty);
            var results = new nint[outputHandles.Length];
            fixed (nint* i = inputHandles, o = outputHandles, f = fixedHandles, d = dirtyHandles, r = results)
                NativeMethods.Check(NativeMethods.sapo_node_join(node._holder, i, inputHandles.Length, o, outputHandles.Length, f,
                    fixedHandles.Length, d, dirtyHandles.Length, r));
            KeepAlive(inputs, outputs, node.Context.NonDifferentiable, node.Context.Dirty);
            return [.. results.Select(handle => new Tensor(handle))];
        }

        public void Dispose()
        {
            nint holder = node._holder;
            node._holder = 0;
            NativeMethods.sapo_node_release(holder);
        }
    }
}
