// What ONNX Runtime computes with. The CPU provider is always there; CUDA's is where the CUDA packages are (SapoRuntime=cuda) and
// a device was found. With it, caches and row buffers stay in host memory and are copied to the device and back by every run:
// the form that is right on any provider. Keeping them on the device is left for when there is one to measure on.
using Microsoft.ML.OnnxRuntime;
using Sapo.Core.Models;
using Sapo.Core.Options;

namespace Sapo.Rollout.Decoding;

/// <summary>Chooses ONNX Runtime's execution provider.</summary>
public static class ExecutionProvider
{
    private const string CudaName = "CUDAExecutionProvider";

    /// <summary>Refuses what the providers at hand cannot do, before anything is imported or loaded for it.</summary>
    /// <param name="options">Names provider and precision; checked.</param>
    /// <exception cref="UserErrorException">CUDA is asked for and not there, or a precision that only it has kernels for.</exception>
    public static void Check(EngineOptions options)
    {
        string[] found = OrtEnv.Instance().GetAvailableProviders();
        if (options.Provider == EngineOptions.CudaProvider && !found.Contains(CudaName, StringComparer.Ordinal))
            throw new UserErrorException(
                $"engine.provider is cuda, and this build of ONNX Runtime has {string.Join(", ", found)}", CudaName,
                "Build with the CUDA packages on a machine with a device (SapoRuntime=cuda; ./sapo doctor says what was found), or choose cpu");
        if (options.Provider != EngineOptions.CudaProvider && PrecisionNames.Parse(options.Precision) == Precision.Bf16)
            throw new UserErrorException(
                $"The precision is bf16, and ONNX Runtime computes on the CPU here (providers found: {string.Join(", ", found)})",
                $"the provider cuda ({CudaName}), which alone has bf16 kernels", "Choose fp32 or int8; fp16 runs on the CPU too, slowly");
    }

    /// <summary>Puts the provider before the CPU's, which keeps what the other has no kernel for.</summary>
    /// <exception cref="OnnxRuntimeException">The provider's library cannot be loaded, or finds no device.</exception>
    internal static void Append(SessionOptions session, string provider)
    {
        const int FirstDevice = 0;
        if (provider == EngineOptions.CudaProvider) session.AppendExecutionProvider_CUDA(FirstDevice);
    }
}
