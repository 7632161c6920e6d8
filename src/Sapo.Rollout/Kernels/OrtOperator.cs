using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Sapo.Rollout.Kernels;

/// <summary>
/// ONNX Runtime's OrtCustomOp (onnxruntime_c_api.h, version 17): the table of functions by which it learns what an operator is and runs it,
/// followed by what those functions answer.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct OrtOperator
{
    /// <summary>More inputs or outputs are not foreseen.</summary>
    public const int MostTensors = 24;

    private uint _version;
    private nint _createKernel;
    private delegate* unmanaged<OrtOperator*, byte*> _getName, _getProvider;
    private delegate* unmanaged<OrtOperator*, nuint, int> _getInputType;
    private delegate* unmanaged<OrtOperator*, nuint> _getInputCount;
    private delegate* unmanaged<OrtOperator*, nuint, int> _getOutputType;
    private delegate* unmanaged<OrtOperator*, nuint> _getOutputCount;
    private nint _compute;
    private delegate* unmanaged<Kernel*, void> _destroy;
    private delegate* unmanaged<OrtOperator*, nuint, int> _getInputCharacteristic, _getOutputCharacteristic, _getInputMemory;
    private delegate* unmanaged<OrtOperator*, int> _getVariadicInputLeast, _getVariadicInputAlike, _getVariadicOutputLeast, _getVariadicOutputAlike;
    private delegate* unmanaged<OrtOperator*, nint, nint, Kernel**, nint> _createKernelV2;
    private delegate* unmanaged<Kernel*, nint, nint> _computeV2;
    private nint _inferShapes;
    private delegate* unmanaged<OrtOperator*, int> _getFirstVersion, _getLastVersion;
    private nint _getInPlace, _releaseInPlace, _getAliases, _releaseAliases;

    private byte* _name;
    private int _threads, _inputs, _outputs, _optionalInputs;
    private fixed byte _inputTypes[MostTensors], _outputTypes[MostTensors];
    private delegate* unmanaged<Kernel*, nint, nint> _fill;

    /// <summary>Makes an operator. It is never freed: sessions refer to it.</summary>
    /// <param name="nullTerminatedName">Its name: a constant, which lies in the program's image.</param>
    /// <param name="threads">Threads of the sessions it is for.</param>
    /// <param name="inputs">The types of its inputs.</param>
    /// <param name="optionalInputs">How many of them, from the end, a node may leave out.</param>
    /// <param name="outputs">The types of its outputs.</param>
    /// <param name="fill">Reads a node's attributes into its kernel.</param>
    /// <param name="compute">Runs a kernel.</param>
    /// <returns>Its address.</returns>
    public static nint Create(
        ReadOnlySpan<byte> nullTerminatedName, int threads, ReadOnlySpan<TensorElementType> inputs, int optionalInputs, ReadOnlySpan<TensorElementType> outputs,
        delegate* unmanaged<Kernel*, nint, nint> fill, delegate* unmanaged<Kernel*, nint, nint> compute)
    {
        var made = (OrtOperator*)NativeMemory.AllocZeroed((nuint)sizeof(OrtOperator));
        var name = (byte*)NativeMemory.Alloc((nuint)nullTerminatedName.Length);
        nullTerminatedName.CopyTo(new Span<byte>(name, nullTerminatedName.Length));
        *made = new OrtOperator
        {
            _version = OrtInterface.Version,
            _getName = &GetName,
            _getProvider = &GetProvider,
            _getInputType = &GetInputType,
            _getInputCount = &GetInputCount,
            _getOutputType = &GetOutputType,
            _getOutputCount = &GetOutputCount,
            _destroy = &Destroy,
            _getInputCharacteristic = &GetInputCharacteristic,
            _getOutputCharacteristic = &GetZero,
            _getInputMemory = &GetZero,
            _getVariadicInputLeast = &GetNone,
            _getVariadicInputAlike = &GetNone,
            _getVariadicOutputLeast = &GetNone,
            _getVariadicOutputAlike = &GetNone,
            _createKernelV2 = &CreateKernel,
            _computeV2 = compute,
            _getFirstVersion = &GetFirstVersion,
            _getLastVersion = &GetLastVersion,
            _name = name,
            _threads = threads,
            _inputs = inputs.Length,
            _outputs = outputs.Length,
            _optionalInputs = optionalInputs,
            _fill = fill,
        };
        for (var i = 0; i < inputs.Length; i++) made->_inputTypes[i] = (byte)inputs[i];
        for (var i = 0; i < outputs.Length; i++) made->_outputTypes[i] = (byte)outputs[i];
        return (nint)made;
    }

    /// <summary>For operators without attributes.</summary>
    [UnmanagedCallersOnly]
    public static nint NoState(Kernel* kernel, nint info) => 0;

    [UnmanagedCallersOnly]
    private static nint CreateKernel(OrtOperator* made, nint api, nint info, Kernel** kernel)
    {
        *kernel = (Kernel*)NativeMemory.AllocZeroed((nuint)sizeof(Kernel));
        (*kernel)->Threads = made->_threads;
        return made->_fill(*kernel, info);
    }

    [UnmanagedCallersOnly]
    private static void Destroy(Kernel* kernel) => NativeMemory.Free(kernel);

    [UnmanagedCallersOnly]
    private static byte* GetName(OrtOperator* made) => made->_name;

    [UnmanagedCallersOnly]
    private static byte* GetProvider(OrtOperator* made) => null; // the CPU's

    [UnmanagedCallersOnly]
    private static int GetInputType(OrtOperator* made, nuint index) => made->_inputTypes[index];

    [UnmanagedCallersOnly]
    private static int GetInputCharacteristic(OrtOperator* made, nuint index) => (int)index < made->_inputs - made->_optionalInputs ? 0 : 1; // INPUT_OUTPUT_REQUIRED, INPUT_OUTPUT_OPTIONAL

    [UnmanagedCallersOnly]
    private static nuint GetInputCount(OrtOperator* made) => (nuint)made->_inputs;

    [UnmanagedCallersOnly]
    private static int GetOutputType(OrtOperator* made, nuint index) => made->_outputTypes[index];

    [UnmanagedCallersOnly]
    private static nuint GetOutputCount(OrtOperator* made) => (nuint)made->_outputs;

    [UnmanagedCallersOnly]
    private static int GetZero(OrtOperator* made, nuint index) => 0; // INPUT_OUTPUT_REQUIRED, OrtMemTypeDefault

    [UnmanagedCallersOnly]
    private static int GetNone(OrtOperator* made) => 0;

    [UnmanagedCallersOnly]
    private static int GetFirstVersion(OrtOperator* made) => 1;

    [UnmanagedCallersOnly]
    private static int GetLastVersion(OrtOperator* made) => int.MaxValue;

    /// <summary>One node's kernel: what its attributes say.</summary>
    public struct Kernel
    {
        /// <summary>Threads of the session.</summary>
        public int Threads;

        /// <summary>Of Attention: query heads.</summary>
        public int Heads;

        /// <summary>Of Attention: positions a token sees, -1 for all.</summary>
        public int Window;

        /// <summary>Of Attention: what scores are multiplied with.</summary>
        public float Scale;

        /// <summary>Of norms: what is added to the mean square.</summary>
        public float Epsilon;
    }
}
