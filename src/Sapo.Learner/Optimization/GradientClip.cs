using Sapo.Core;
using Sapo.Learner.Compute;
using Sapo.Learner.Model;
using TorchSharp;
using static TorchSharp.torch;

namespace Sapo.Learner.Optimization;

/// <summary>The global 2-norm of all gradients and what follows from it.</summary>
internal static class GradientClip
{
    /// <summary>PyTorch's clip_grad_norm_ adds this to the norm it divides by.</summary>
    private const double NormEpsilon = 1e-6;

    /// <summary>Elements whose squares are summed in the gradients' own precision.</summary>
    private const long Block = 1 << 20;

    /// <summary>The norm of a flat buffer, summed in double precision block by block; NaN or infinite when a gradient is.</summary>
    public static double Norm(Tensor gradients)
    {
        using var scope = NewDisposeScope();
        var squares = new double[(gradients.shape[0] + Block - 1) / Block];
        ComputeThreads.Shared.ForEach(squares.Length, block =>
        {
            using var blockScope = NewDisposeScope();
            var first = block * Block;
            var norm = gradients.narrow(0, first, Math.Min(Block, gradients.shape[0] - first)).norm().ToDouble();
            squares[block] = norm * norm;
        });
        return Math.Sqrt(squares.Sum());
    }

    /// <summary>What gradients are multiplied with: min(1, max / (norm + 1e-6)), or 1 without a limit.</summary>
    public static double Factor(double norm, double? maxNorm) => maxNorm is { } limit ? Math.Min(1, limit / (norm + NormEpsilon)) : 1;

    /// <summary>The checkpoint name of the first tensor with a gradient that is not finite.</summary>
    public static string FirstNonFinite(FlatParameters parameters)
    {
        foreach (var slot in parameters.InCheckpointOrder)
        {
            using var scope = NewDisposeScope();
            if (!double.IsFinite(parameters.Gradients.narrow(0, slot.Offset, slot.Count).abs().max().ToDouble())) return slot.Name;
        }
        return "the sum of all squares, which overflows";
    }
}
