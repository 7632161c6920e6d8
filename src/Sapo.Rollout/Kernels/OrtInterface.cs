// What a kernel here needs of ONNX Runtime's C interface (onnxruntime_c_api.h). The managed assembly keeps it to itself, so it is asked
// of the native library again: OrtGetApiBase -> OrtApi, a table of functions whose order never changes.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;

namespace Sapo.Rollout.Kernels;

/// <summary>Functions of ONNX Runtime that operators call. A status of 0 is success; any other is handed on to the runtime, which owns it then.</summary>
internal static unsafe partial class OrtInterface
{
    /// <summary>The version asked for: the first whose operators may report a failure and whose threads they may borrow.</summary>
    public const int Version = 17;

    private static readonly OrtApi Api = Load();

    /// <summary>Makes a domain of operators known to the sessions that options are used for.</summary>
    /// <param name="options">The options.</param>
    /// <param name="domain">What <see cref="CreateDomain"/> gave.</param>
    public static void AddDomain(SessionOptions options, nint domain) => Check(((delegate* unmanaged<nint, nint, nint>)Api.AddCustomOpDomain)(options.DangerousGetHandle(), domain));

    /// <summary>A domain with operators; it and they must outlive every session.</summary>
    public static nint CreateDomain(ReadOnlySpan<byte> nullTerminatedName, params ReadOnlySpan<nint> operators)
    {
        nint domain;
        fixed (byte* name = nullTerminatedName) Check(((delegate* unmanaged<byte*, nint*, nint>)Api.CreateCustomOpDomain)(name, &domain));
        foreach (var operation in operators) Check(((delegate* unmanaged<nint, nint, nint>)Api.CustomOpDomain_Add)(domain, operation));
        return domain;
    }

    /// <summary>An integer attribute of the node that a kernel is made for.</summary>
    public static nint Attribute(nint kernelInfo, ReadOnlySpan<byte> nullTerminatedName, out long value)
    {
        fixed (byte* name = nullTerminatedName)
        fixed (long* place = &value) return ((delegate* unmanaged<nint, byte*, long*, nint>)Api.KernelInfoGetAttribute_int64)(kernelInfo, name, place);
    }

    /// <summary>A 32-bit attribute of the node that a kernel is made for.</summary>
    public static nint Attribute(nint kernelInfo, ReadOnlySpan<byte> nullTerminatedName, out float value)
    {
        fixed (byte* name = nullTerminatedName)
        fixed (float* place = &value) return ((delegate* unmanaged<nint, byte*, float*, nint>)Api.KernelInfoGetAttribute_float)(kernelInfo, name, place);
    }

    /// <summary>How many inputs the node has: optional ones at the end may be left out.</summary>
    public static nint InputCount(nint context, out int count)
    {
        nuint found;
        var status = ((delegate* unmanaged<nint, nuint*, nint>)Api.KernelContext_GetInputCount)(context, &found);
        count = (int)found;
        return status;
    }

    /// <summary>An input of the call, its data and its dimensions.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static nint Input(nint context, int index, out Tensor tensor)
    {
        tensor = default;
        nint value, info;
        nuint count;
        void* data;
        var status = ((delegate* unmanaged<nint, nuint, nint*, nint>)Api.KernelContext_GetInput)(context, (nuint)index, &value);
        if (status != 0 || (status = ((delegate* unmanaged<nint, void**, nint>)Api.GetTensorMutableData)(value, &data)) != 0) return status;
        if ((status = ((delegate* unmanaged<nint, nint*, nint>)Api.GetTensorTypeAndShape)(value, &info)) != 0) return status;
        status = ((delegate* unmanaged<nint, nuint*, nint>)Api.GetDimensionsCount)(info, &count);
        if (status == 0 && count > Tensor.MostDimensions) status = Failure("An operator of Sapo was given more than 8 dimensions.\0"u8);
        fixed (long* shape = tensor.Shape)
            if (status == 0) status = ((delegate* unmanaged<nint, long*, nuint, nint>)Api.GetDimensions)(info, shape, count);
        ((delegate* unmanaged<nint, void>)Api.ReleaseTensorTypeAndShapeInfo)(info);
        tensor.Data = data;
        tensor.Dimensions = (int)count;
        return status;
    }

    /// <summary>Memory for an output of the call, or the memory that was bound for it.</summary>
    /// <param name="context">The call.</param>
    /// <param name="index">Which output.</param>
    /// <param name="tensor">Its shape; its data are filled in.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static nint Output(nint context, int index, ref Tensor tensor)
    {
        nint value;
        void* data = null;
        fixed (long* shape = tensor.Shape)
        {
            var status = ((delegate* unmanaged<nint, nuint, long*, nuint, nint*, nint>)Api.KernelContext_GetOutput)(context, (nuint)index, shape, (nuint)tensor.Dimensions, &value);
            if (status == 0) status = ((delegate* unmanaged<nint, void**, nint>)Api.GetTensorMutableData)(value, &data);
            if (status == 0) tensor.Data = data;
            return status;
        }
    }

    /// <summary>Runs tasks on the session's threads and waits for them.</summary>
    public static nint Run<T>(nint context, delegate* unmanaged<T*, nuint, void> task, int count, T* state)
        where T : unmanaged =>
        ((delegate* unmanaged<nint, delegate* unmanaged<T*, nuint, void>, nuint, nuint, T*, nint>)Api.KernelContext_ParallelFor)(context, task, (nuint)count, 0, state);

    /// <summary>A status that makes the runtime refuse the call with a message.</summary>
    public static nint Failure(ReadOnlySpan<byte> nullTerminatedMessage)
    {
        const int InvalidArgument = 2;
        fixed (byte* text = nullTerminatedMessage) return ((delegate* unmanaged<int, byte*, nint>)Api.CreateStatus)(InvalidArgument, text);
    }

    private static void Check(nint status)
    {
        if (status == 0) return;
        var message = Marshal.PtrToStringUTF8(((delegate* unmanaged<nint, nint>)Api.GetErrorMessage)(status));
        ((delegate* unmanaged<nint, void>)Api.ReleaseStatus)(status);
        throw new InvalidOperationException($"ONNX Runtime does not take Sapo's operators: {message}");
    }

    private static OrtApi Load()
    {
        OrtEnv.Instance(); // loads the native library, wherever the managed one finds it
        var table = ((delegate* unmanaged<uint, OrtApi*>)OrtGetApiBase()->GetApi)(Version);
        return table is null ? throw new InvalidOperationException($"ONNX Runtime {OrtEnv.Instance().GetVersionString()} is older than version 1.{Version} of its interface.") : *table;
    }

    [LibraryImport("onnxruntime")]
    private static partial OrtApiBase* OrtGetApiBase();

    /// <summary>A tensor of a call. Its memory is the runtime's, for as long as the call lasts.</summary>
    public struct Tensor
    {
        /// <summary>More dimensions are refused.</summary>
        public const int MostDimensions = 8;

        /// <summary>The first element.</summary>
        public void* Data;

        /// <summary>How many dimensions there are.</summary>
        public int Dimensions;

        /// <summary>The dimensions.</summary>
        public fixed long Shape[MostDimensions];

        /// <summary>The first element of a tensor of 32-bit floats.</summary>
        public readonly float* Floats => (float*)Data;

        /// <summary>Dimensions from one place on, negative from behind.</summary>
        public readonly int this[int index] => (int)Shape[index < 0 ? Dimensions + index : index];

        /// <summary>Elements.</summary>
        public readonly long Count
        {
            get
            {
                var count = 1L;
                for (var i = 0; i < Dimensions; i++) count *= Shape[i];
                return count;
            }
        }
    }
}
