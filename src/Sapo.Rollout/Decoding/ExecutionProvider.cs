using Microsoft.ML.OnnxRuntime;
using Sapo.Core.Models;

namespace Sapo.Rollout.Decoding;

/// <summary>What ONNX Runtime computes with: the CPU.</summary>
public static class ExecutionProvider
{
    /// <summary>Refuses a precision that the provider has no kernels for, before anything is imported or loaded for it.</summary>
    /// <exception cref="UserErrorException">bf16: the CPU provider has no kernels for it.</exception>
    public static void Check(Precision precision)
    {
        if (precision != Precision.Bf16) return;
        throw new UserErrorException(
            $"The precision bf16 is asked for and ONNX Runtime computes on the CPU here (providers found: {string.Join(", ", OrtEnv.Instance().GetAvailableProviders())})",
            "the CUDA provider, which alone has bf16 kernels", "Choose fp32 or int8; fp16 runs on the CPU too, slowly");
    }
}
