// LinearKernel as an operator of a graph: node "sapo.Linear", inputs x [.., in] and W [out, in], output [.., out], all fp32.
//
//   SessionOptions <── Register: domain "sapo" with one OrtCustomOp, a table of functions that ONNX Runtime calls
//   session is made ──> CreateKernel: nothing to keep, and nothing is reordered
//   a step          ──> Compute: shapes and addresses from the context ──> tasks on the session's own threads ──> LinearKernel
//
// The table is the C interface's (onnxruntime_c_api.h, OrtCustomOp, version 17); the functions it is given are C#.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;

namespace Sapo.Rollout.Kernels;

/// <summary>Makes <see cref="LinearKernel"/> known to sessions.</summary>
internal static unsafe partial class LinearOperator
{
    private const int InterfaceVersion = 17; // the first whose functions may report a failure and whose threads may be borrowed
    private const int MostDimensions = 8;
    private const long ProductsPerTask = 1 << 19; // about 10 microseconds, which is what waking a thread takes
    private const int TasksPerThread = 4;         // so that a thread that was held up does not hold up the others

    private static readonly OrtApi Api = LoadApi();
    private static readonly Lock Gate = new();
    private static readonly Dictionary<int, nint> Domains = [];

    /// <summary>Adds the operator to the options of a session.</summary>
    /// <param name="options">The options.</param>
    /// <param name="threads">The session's threads.</param>
    public static void Register(SessionOptions options, int threads)
    {
        lock (Gate)
        {
            if (!Domains.TryGetValue(threads, out var domain)) Domains.Add(threads, domain = CreateDomain(threads));
            Check(((delegate* unmanaged<nint, nint, nint>)Api.AddCustomOpDomain)(options.DangerousGetHandle(), domain));
        }
    }

    // Made once per number of threads and kept for good: sessions refer to it.
    private static nint CreateDomain(int threads)
    {
        var operation = (Operator*)NativeMemory.AllocZeroed((nuint)sizeof(Operator));
        *operation = new Operator
        {
            Version = InterfaceVersion,
            GetName = &GetName,
            GetExecutionProviderType = &GetProvider,
            GetInputType = &GetFloat,
            GetInputTypeCount = &GetTwo,
            GetOutputType = &GetFloat,
            GetOutputTypeCount = &GetOne,
            KernelDestroy = &Destroy,
            GetInputCharacteristic = &GetRequired,
            GetOutputCharacteristic = &GetRequired,
            GetInputMemoryType = &GetDefaultMemory,
            GetVariadicInputMinArity = &GetNone,
            GetVariadicInputHomogeneity = &GetNone,
            GetVariadicOutputMinArity = &GetNone,
            GetVariadicOutputHomogeneity = &GetNone,
            CreateKernelV2 = &Create,
            KernelComputeV2 = &Compute,
            GetStartVersion = &GetFirstVersion,
            GetEndVersion = &GetLastVersion,
            Threads = threads,
        };
        nint domain;
        fixed (byte* name = "sapo"u8) Check(((delegate* unmanaged<byte*, nint*, nint>)Api.CreateCustomOpDomain)(name, &domain));
        Check(((delegate* unmanaged<nint, Operator*, nint>)Api.CustomOpDomain_Add)(domain, operation));
        return domain;
    }

    [UnmanagedCallersOnly]
    private static nint Create(Operator* operation, nint api, nint info, void** kernel)
    {
        *kernel = operation; // what a step needs to know is in the table
        return 0;
    }

    [UnmanagedCallersOnly]
    private static nint Compute(void* kernel, nint context)
    {
        nint x, weight = 0, y;
        var status = ((delegate* unmanaged<nint, nuint, nint*, nint>)Api.KernelContext_GetInput)(context, 0, &x);
        if (status == 0) status = ((delegate* unmanaged<nint, nuint, nint*, nint>)Api.KernelContext_GetInput)(context, 1, &weight);
        if (status != 0) return status;
        long* shape = stackalloc long[MostDimensions], matrix = stackalloc long[MostDimensions];
        int dimensions, matrixDimensions;
        if ((status = ReadShape(x, shape, &dimensions)) != 0 || (status = ReadShape(weight, matrix, &matrixDimensions)) != 0) return status;
        if (dimensions < 1 || matrixDimensions != 2 || shape[dimensions - 1] != matrix[1]) return Failure("sapo.Linear: x is not [.., in] for a matrix [out, in]"u8);
        var task = new Task { Height = (int)matrix[0], Width = (int)matrix[1], Rows = 1 };
        for (var i = 0; i < dimensions - 1; i++) task.Rows *= shape[i];
        shape[dimensions - 1] = task.Height;
        if ((status = ((delegate* unmanaged<nint, nuint, long*, nuint, nint*, nint>)Api.KernelContext_GetOutput)(context, 0, shape, (nuint)dimensions, &y)) != 0) return status;
        if ((status = Data(x, &task.X)) != 0 || (status = Data(weight, &task.Weight)) != 0 || (status = Data(y, &task.Y)) != 0) return status;
        var strips = (task.Height + LinearKernel.Strip - 1) / LinearKernel.Strip;
        var tasks = Math.Min(Math.Min(TasksPerThread * ((Operator*)kernel)->Threads, strips), task.Rows * task.Height * task.Width / ProductsPerTask);
        if (((Operator*)kernel)->Threads == 1 || tasks < 2)
        {
            LinearKernel.Multiply(task.X, task.Rows, task.Weight, task.Height, task.Width, 0, task.Height, task.Y);
            return 0;
        }
        task.Count = (int)tasks;
        return ((delegate* unmanaged<nint, delegate* unmanaged<Task*, nuint, void>, nuint, nuint, Task*, nint>)Api.KernelContext_ParallelFor)(context, &Run, (nuint)tasks, 0, &task);
    }

    [UnmanagedCallersOnly]
    private static void Run(Task* task, nuint index)
    {
        var strips = (task->Height + LinearKernel.Strip - 1) / LinearKernel.Strip;
        int from = (int)((long)strips * (int)index / task->Count) * LinearKernel.Strip, to = (int)((long)strips * ((int)index + 1) / task->Count) * LinearKernel.Strip;
        LinearKernel.Multiply(task->X, task->Rows, task->Weight, task->Height, task->Width, from, Math.Min(to, task->Height), task->Y);
    }

    private static nint ReadShape(nint tensor, long* shape, int* dimensions)
    {
        nint info;
        nuint count;
        var status = ((delegate* unmanaged<nint, nint*, nint>)Api.GetTensorTypeAndShape)(tensor, &info);
        if (status != 0) return status;
        status = ((delegate* unmanaged<nint, nuint*, nint>)Api.GetDimensionsCount)(info, &count);
        if (status == 0 && count > MostDimensions) status = Failure("sapo.Linear: x has more than 8 dimensions"u8);
        if (status == 0) status = ((delegate* unmanaged<nint, long*, nuint, nint>)Api.GetDimensions)(info, shape, count);
        ((delegate* unmanaged<nint, void>)Api.ReleaseTensorTypeAndShapeInfo)(info);
        *dimensions = (int)count;
        return status;
    }

    private static nint Data(nint tensor, float** data) => ((delegate* unmanaged<nint, float**, nint>)Api.GetTensorMutableData)(tensor, data);

    private static nint Failure(ReadOnlySpan<byte> message)
    {
        const int InvalidArgument = 2;
        fixed (byte* text = message) return ((delegate* unmanaged<int, byte*, nint>)Api.CreateStatus)(InvalidArgument, text);
    }

    private static void Check(nint status)
    {
        if (status == 0) return;
        var message = Marshal.PtrToStringUTF8(((delegate* unmanaged<nint, nint>)Api.GetErrorMessage)(status));
        ((delegate* unmanaged<nint, void>)Api.ReleaseStatus)(status);
        throw new InvalidOperationException($"ONNX Runtime does not take the operator sapo.Linear: {message}");
    }

    private static OrtApi LoadApi()
    {
        OrtEnv.Instance(); // loads the native library, wherever the managed one finds it
        var table = ((delegate* unmanaged<uint, OrtApi*>)OrtGetApiBase()->GetApi)(InterfaceVersion);
        return table is null ? throw new InvalidOperationException($"ONNX Runtime {OrtEnv.Instance().GetVersionString()} is older than version 1.{InterfaceVersion} of its interface.") : *table;
    }

    [LibraryImport("onnxruntime")]
    private static partial OrtApiBase* OrtGetApiBase();

    [UnmanagedCallersOnly]
    private static byte* GetName(Operator* operation) => (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference("Linear"u8)); // lies in the program's image

    [UnmanagedCallersOnly]
    private static byte* GetProvider(Operator* operation) => null; // the CPU's

    [UnmanagedCallersOnly]
    private static int GetFloat(Operator* operation, nuint index) => 1; // ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT

    [UnmanagedCallersOnly]
    private static nuint GetTwo(Operator* operation) => 2;

    [UnmanagedCallersOnly]
    private static nuint GetOne(Operator* operation) => 1;

    [UnmanagedCallersOnly]
    private static void Destroy(void* kernel)
    {
    }

    [UnmanagedCallersOnly]
    private static int GetRequired(Operator* operation, nuint index) => 0; // INPUT_OUTPUT_REQUIRED

    [UnmanagedCallersOnly]
    private static int GetDefaultMemory(Operator* operation, nuint index) => 0; // OrtMemTypeDefault

    [UnmanagedCallersOnly]
    private static int GetNone(Operator* operation) => 0;

    [UnmanagedCallersOnly]
    private static int GetFirstVersion(Operator* operation) => 1;

    [UnmanagedCallersOnly]
    private static int GetLastVersion(Operator* operation) => int.MaxValue;

    // One product, as its tasks see it. Lies on the stack of Compute, which waits for them.
    private struct Task
    {
        public float* X, Weight, Y;
        public long Rows;
        public int Height, Width, Count;
    }

    // OrtCustomOp, with the number of threads behind it.
    [StructLayout(LayoutKind.Sequential)]
    private struct Operator
    {
        public uint Version;
        public nint CreateKernel;
        public delegate* unmanaged<Operator*, byte*> GetName, GetExecutionProviderType;
        public delegate* unmanaged<Operator*, nuint, int> GetInputType;
        public delegate* unmanaged<Operator*, nuint> GetInputTypeCount;
        public delegate* unmanaged<Operator*, nuint, int> GetOutputType;
        public delegate* unmanaged<Operator*, nuint> GetOutputTypeCount;
        public nint KernelCompute;
        public delegate* unmanaged<void*, void> KernelDestroy;
        public delegate* unmanaged<Operator*, nuint, int> GetInputCharacteristic, GetOutputCharacteristic, GetInputMemoryType;
        public delegate* unmanaged<Operator*, int> GetVariadicInputMinArity, GetVariadicInputHomogeneity, GetVariadicOutputMinArity, GetVariadicOutputHomogeneity;
        public delegate* unmanaged<Operator*, nint, nint, void**, nint> CreateKernelV2;
        public delegate* unmanaged<void*, nint, nint> KernelComputeV2;
        public nint InferOutputShape;
        public delegate* unmanaged<Operator*, int> GetStartVersion, GetEndVersion;
        public nint GetMayInplace, ReleaseMayInplace, GetAliasMap, ReleaseAliasMap;
        public int Threads;
    }
}
