// Loads each engine once and asks for its version. The order matters: GenAI without ONNX Runtime's library ends the
// process with a segmentation fault, so it is touched only after that library was found.
using System.Reflection;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Sapo.Learner.Compute;
using TorchSharp;

namespace Sapo.Hybrid.Doctor;

/// <summary>Finds out which native engines load, and what they are.</summary>
internal static class EngineProbe
{
    /// <summary>Large enough that libtorch leaves the product to the BLAS.</summary>
    private const int ProbeMatrixSize = 64;

    private delegate nint CoreNameFunction();

    /// <summary>Loads the engines; <see cref="Core.Machine.NativeEnvironment.Prepare"/> comes before.</summary>
    public static EngineReport Look()
    {
        var onnxRuntime = Load(LookAtOnnxRuntime);
        var genAI = onnxRuntime.Failure is null
            ? Load(LookAtGenAI)
            : new EngineState(null, "not tried, because it needs ONNX Runtime");
        var torchState = Load(LookAtTorch);
        return new EngineReport(
            BuiltRuntime(),
            onnxRuntime,
            genAI,
            torchState,
            torchState.Failure is null ? ComputeThreads.Shared.Count : 0,
            torchState.Failure is null ? LoadedBlas() : "unknown");
    }

    /// <summary>Whatever an engine throws while it loads is the finding.</summary>
    private static EngineState Load(Func<EngineState> look)
    {
        try
        {
            return look();
        }
        catch (Exception exception)
        {
            // The first sentence; the loader adds advice on tracing it and every path it tried.
            var message = exception.GetBaseException().Message;
            return new EngineState(null, message.Split(". ", 2)[0].Split('\n')[0].Trim());
        }
    }

    private static EngineState LookAtOnnxRuntime()
    {
        NativeLibrary.Load("onnxruntime", typeof(OrtEnv).Assembly, null);
        var environment = OrtEnv.Instance();
        var hasCuda = environment.GetAvailableProviders().Contains("CUDAExecutionProvider", StringComparer.Ordinal);
        return new EngineState(environment.GetVersionString(), null, hasCuda);
    }

    private static EngineState LookAtGenAI()
    {
        var assembly = typeof(Microsoft.ML.OnnxRuntimeGenAI.Config).Assembly;
        NativeLibrary.Load("onnxruntime-genai", assembly, null);
        // "0.15.2+commit": the part before the plus.
        var version = assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0];
        return new EngineState(version ?? assembly.GetName().Version?.ToString() ?? "of unknown version", null);
    }

    private static EngineState LookAtTorch()
    {
        using var scope = torch.NewDisposeScope();
        var ones = torch.ones(ProbeMatrixSize, ProbeMatrixSize);
        var sum = torch.matmul(ones, ones).sum().item<float>();
        const float expected = (float)ProbeMatrixSize * ProbeMatrixSize * ProbeMatrixSize;
        return sum == expected
            ? new EngineState(torch.__version__, null, torch.cuda.is_available())
            : new EngineState(null, $"a product of matrices of ones sums to {sum}, not to {expected}");
    }

    private static string BuiltRuntime() =>
        typeof(EngineProbe).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
            .FirstOrDefault(attribute => attribute.Key == "SapoRuntime")?.Value ?? "unknown";

    /// <summary>The BLAS among the libraries mapped into this process.</summary>
    private static string LoadedBlas()
    {
        const string inside = "inside libtorch";
        if (!OperatingSystem.IsLinux()) return inside;
        // Each line ends with the file that is mapped there, if any.
        var path = File.ReadLines("/proc/self/maps")
            .Select(line => line.IndexOf('/', StringComparison.Ordinal) is var start and >= 0 ? line[start..] : "")
            .FirstOrDefault(file => Path.GetFileName(file).StartsWith("libopenblas", StringComparison.OrdinalIgnoreCase));
        if (path is null
            || !NativeLibrary.TryLoad(path, out var library)
            || !NativeLibrary.TryGetExport(library, "openblas_get_corename", out var coreName))
        {
            return inside;
        }

        var name = Marshal.GetDelegateForFunctionPointer<CoreNameFunction>(coreName)();
        return "OpenBLAS, " + Marshal.PtrToStringUTF8(name) + " kernels";
    }
}
