using static TorchSharp.torch;

// The default type, the random generator and the threads belong to the process: one test at a time.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace TorchSharp.Tests;

/// <summary>Comparisons of tensors with closed forms, and of gradients with finite differences, in float64.</summary>
internal static class Verify
{
    /// <summary>Rounding of a few float64 operations, relative to the value where it is above 1.</summary>
    public const double Rounding = 1e-11;

    /// <summary>A central difference with step 1e-5 errs by about 1e-10 (curvature) + 1e-11 (rounding), times small constants.</summary>
    public const double Difference = 1e-7;

    private const double Step = 1e-5;

    /// <summary>Equal shape, and equal values up to rounding.</summary>
    public static void Values(Tensor actual, long[] shape, double[] expected, double tolerance = Rounding)
    {
        Assert.Equal(shape, actual.shape);
        double[] found = Doubles(actual);
        Assert.Equal(expected.Length, found.Length);
        for (int i = 0; i < found.Length; i++)
            Assert.True(Close(expected[i], found[i], tolerance), $"element {i}: expected {expected[i]:R}, found {found[i]:R}");
    }

    /// <summary>Every form gives the expected values, and the same gradient as finite differences of the first.</summary>
    public static void Forms(Func<Tensor> input, long[] shape, double[] expected, params Func<Tensor, Tensor>[] forms)
    {
        using DisposeScope scope = NewDisposeScope();
        foreach (Func<Tensor, Tensor> form in forms)
        {
            Values(form(input()), shape, expected);
            Gradient(form, input());
        }
    }

    /// <summary>The same without gradients: results of whole numbers and truth values.</summary>
    public static void Results(Func<Tensor> input, long[] shape, double[] expected, params Func<Tensor, Tensor>[] forms)
    {
        using DisposeScope scope = NewDisposeScope();
        foreach (Func<Tensor, Tensor> form in forms) Values(form(input()), shape, expected);
    }

    /// <summary>The gradient of a weighted sum of a function's results, by autograd and by central differences.</summary>
    public static void Gradient(Func<Tensor, Tensor> function, Tensor at)
    {
        double[] numeric = Numeric(x => Weighted(function(x)).item<double>(), at);
        using Tensor leaf = at.detach().clone().requires_grad_();
        // In-place forms may not change a leaf: they get a copy of it.
        Weighted(function(leaf.clone())).backward();
        Values(leaf.grad!, at.shape, numeric, Difference);
    }

    /// <summary>Central differences of a scalar function.</summary>
    public static double[] Numeric(Func<Tensor, double> function, Tensor at)
    {
        double[] values = Doubles(at), gradient = new double[values.Length];
        for (int i = 0; i < values.Length; i++) gradient[i] = (At(i, Step) - At(i, -Step)) / (2 * Step);
        return gradient;

        double At(int index, double shift)
        {
            using DisposeScope scope = NewDisposeScope();
            double[] moved = [.. values];
            moved[index] += shift;
            return function(tensor(moved, at.shape));
        }
    }

    public static double[] Doubles(Tensor source) => source.detach().to(ScalarType.Float64).contiguous().data<double>().ToArray();

    /// <summary>0.1, 0.2, ... in a shape: no two elements alike, none 0.</summary>
    public static Tensor Grid(params long[] shape) => arange(1, shape.Aggregate(1L, (a, b) => a * b) + 1,
        ScalarType.Float64).reshape(shape).mul(0.1);

    /// <summary>The elements of <see cref="Grid"/>.</summary>
    public static double[] Tenths(params int[] numbers) => Array.ConvertAll(numbers, number => number * 0.1);

    public static bool Close(double expected, double found, double tolerance) =>
        expected.Equals(found) || Math.Abs(expected - found) <= tolerance * Math.Max(1, Math.Abs(expected));

    /// <summary>A sum with unequal weights, so that a wrong order of elements shows.</summary>
    private static Tensor Weighted(Tensor result)
    {
        Tensor flat = result.reshape(-1);
        return flat.mul(arange(1, flat.numel() + 1, ScalarType.Float64).mul(0.37).cos()).sum();
    }
}
