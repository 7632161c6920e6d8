// Matrix products on all of the learner's cores. The result is cut along its longer side, so that what every thread has to read
// as a whole is the smaller operand:
//
//   more rows than columns     [ part ] = [ part ] x right         else     [ part | part ] = left x [ part | part ]
//
// On another device there is one product. libtorch's product adds to what is there, so a part of a larger result is written in place.
using TorchSharp;
using static TorchSharp.torch;

namespace Sapo.Learner.Compute;

/// <summary>Products of matrices.</summary>
internal static class Products
{
    /// <summary>Multiplications that are worth another thread: about 20 microseconds.</summary>
    private const long WorthAThread = 1 << 20;

    /// <summary>left x right, plus <paramref name="added"/> where there is something.</summary>
    /// <param name="left">[m, k].</param>
    /// <param name="right">[k, n].</param>
    /// <param name="added">[m, n] or [n], or null.</param>
    /// <returns>[m, n].</returns>
    public static Tensor Of(Tensor left, Tensor right, Tensor? added = null)
    {
        using var scope = NewDisposeScope();
        var result = left.new_empty([left.shape[0], right.shape[1]]);
        var start = added?.expand(result.shape);
        InParts(result, left, right, (part, ofLeft, ofRight, row, column) =>
        {
            if (start is not null) part.copy_(start.narrow(0, row, part.shape[0]).narrow(1, column, part.shape[1]));
            if (left.dtype != ScalarType.BFloat16) part.addmm_(ofLeft, ofRight, beta: start is null ? 0 : 1);
            else if (start is null) part.copy_(ofLeft.mm(ofRight)); // these kernels want a result of their own
            else part.add_(ofLeft.mm(ofRight));
        });
        return result.MoveToOuterDisposeScope();
    }

    /// <summary>sum += left x right, in place.</summary>
    /// <param name="sum">[m, n].</param>
    /// <param name="left">[m, k].</param>
    /// <param name="right">[k, n].</param>
    public static void AddTo(Tensor sum, Tensor left, Tensor right) => InParts(sum, left, right, (part, ofLeft, ofRight, _, _) => part.addmm_(ofLeft, ofRight));

    private static void InParts(Tensor result, Tensor left, Tensor right, Action<Tensor, Tensor, Tensor, long, long> work)
    {
        var (rows, columns, depth) = (result.shape[0], result.shape[1], left.shape[1]);
        if (result.device_type != DeviceType.CPU)
        {
            work(result, left, right, 0, 0);
            return;
        }
        var cutsRows = rows >= columns;
        ComputeThreads.Shared.ForRanges(cutsRows ? rows : columns, 1 + WorthAThread / Math.Max(1, depth * (cutsRows ? columns : rows)), (first, count) =>
        {
            using var scope = NewDisposeScope();
            if (cutsRows) work(result.narrow(0, first, count), left.narrow(0, first, count), right, first, 0);
            else work(result.narrow(1, first, count), left, right.narrow(1, first, count), 0, first);
        });
    }
}
