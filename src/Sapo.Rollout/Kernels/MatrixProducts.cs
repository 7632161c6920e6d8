using Sapo.Core.Models;
using Sapo.Core.Options;

namespace Sapo.Rollout.Kernels;

/// <summary>How an engine multiplies with weight matrices: <see cref="EngineOptions.Prepack"/>, decided.</summary>
internal enum MatrixProducts
{
    /// <summary>By <see cref="LinearKernel"/>, as they lie.</summary>
    Direct,

    /// <summary>By ONNX Runtime, reordered before a version serves.</summary>
    Before,

    /// <summary>By ONNX Runtime, reordered while the version serves already.</summary>
    Behind,

    /// <summary>By ONNX Runtime, as they lie.</summary>
    Never,
}

/// <summary>Decides between them.</summary>
internal static class MatrixProductsOf
{
    /// <summary>What options mean for a folder on this machine.</summary>
    /// <param name="options">Checked.</param>
    /// <param name="hasDirectGraph">Whether the folder has a graph for our own products: one of GenAI's model builder has not.</param>
    /// <exception cref="UserErrorException">The kernel is asked for and cannot be had.</exception>
    public static MatrixProducts Options(EngineOptions options, bool hasDirectGraph)
    {
        const string Remedy = "Choose auto";
        if (options.Prepack == "direct" && !hasDirectGraph)
            throw new UserErrorException($"engine.prepack is direct, and the policy's folder has no {PublishedPolicy.DirectGraphFile}", "a folder that was imported or published from a Hugging Face folder", Remedy);
        if (options.Prepack == "direct" && !LinearKernel.IsSupported)
            throw new UserErrorException("engine.prepack is direct, and this processor has neither AVX-512 nor AVX2 with FMA", "before, behind or never", Remedy);
        var direct = hasDirectGraph && LinearKernel.IsSupported && options is { Session: "ort", Provider: "cpu" } && PrecisionNames.Parse(options.Precision) == Precision.Fp32;
        return options.Prepack switch
        {
            "direct" => MatrixProducts.Direct,
            "behind" => MatrixProducts.Behind,
            "never" => MatrixProducts.Never,
            EngineOptions.Auto when direct => MatrixProducts.Direct,
            _ => MatrixProducts.Before,
        };
    }
}
