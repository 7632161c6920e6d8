// The product that a decode step consists of, held to sums in double, to itself, and to its own narrower paths.
using Microsoft.ML.OnnxRuntime;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Kernels;
using Sapo.Sync.Onnx;

namespace Sapo.Rollout.Tests.Kernels;

public sealed unsafe class LinearKernelTests
{
    private const double HalfUlp = 1.0 / (1 << 24);

    [Theory]
    [InlineData(1, 8, 16)]
    [InlineData(3, 13, 37)]
    [InlineData(16, 64, 64)]
    [InlineData(17, 7, 5)]
    [InlineData(31, 24, 1023)]
    [InlineData(33, 16, 1025)]
    [InlineData(64, 40, 128)]
    [InlineData(65, 9, 2100)]
    [InlineData(130, 16, 19)]
    [InlineData(1, 1, 1)]
    public void Multiply_AnyShape_EqualsSumsInDouble(int rows, int height, int width)
    {
        float[] x = Numbers(rows * width, 1), weight = Numbers(height * width, 2);
        var y = Product(x, rows, weight, height, width, cut: height / 2 / LinearKernel.Strip * LinearKernel.Strip);
        for (var row = 0; row < rows; row++)
        {
            for (var column = 0; column < height; column++)
            {
                double expected = 0, size = 0;
                for (var k = 0; k < width; k++)
                {
                    var product = (double)x[row * width + k] * weight[column * width + k];
                    expected += product;
                    size += Math.Abs(product);
                }
                Assert.Equal(expected, y[row * height + column], width * HalfUlp * size); // each of the additions rounds a number no larger than size
            }
        }
    }

    [Theory]
    [InlineData(24, 200), InlineData(15, 1500)]
    public void Multiply_ARowBesideOthers_GivesTheSameBitsAsAlone(int height, int width)
    {
        const int Rows = 70;
        float[] x = Numbers(Rows * width, 3), weight = Numbers(height * width, 4);
        var together = Product(x, Rows, weight, height, width, cut: 8);
        foreach (var count in new[] { 1, 2, 16, 17, 40 })
        {
            for (var first = 0; first + count <= Rows; first += count)
                Assert.Equal(together[(first * height)..((first + count) * height)], Product(x[(first * width)..((first + count) * width)], count, weight, height, width, cut: 0));
        }
    }

    [Fact]
    public void Multiply_NaNInARow_StaysInIt()
    {
        const int Rows = 20, Height = 16, Width = 40;
        float[] x = Numbers(Rows * Width, 5), weight = Numbers(Height * Width, 6);
        x[7 * Width + 3] = float.NaN;
        var y = Product(x, Rows, weight, Height, Width, cut: 8);
        Assert.All(Enumerable.Range(0, Rows), row => Assert.All(y[(row * Height)..((row + 1) * Height)], value => Assert.Equal(row == 7, float.IsNaN(value))));
    }

    [Fact]
    public void Compute_EveryPath_GivesTheSameBits()
    {
        const int Rows = 8, Columns = 77, Lanes = 16;
        using NativeBuffer<float> panel = new(Columns * Lanes), weight = new((Rows + 8) * Columns), sums = new(2 * Rows * Lanes), expected = new(Rows * Lanes);
        Numbers(Columns * Lanes, 7).CopyTo(panel.Span);
        Numbers(Rows * Columns, 8).CopyTo(weight.Span);
        for (var row = 0; row < Rows; row++) LinearTile.Compute(panel.Pointer, null, weight.Pointer + row * Columns, Columns, rows: 1, Columns, expected.Pointer + row * Lanes);
        LinearTile.Four(panel.Pointer, weight.Pointer, Columns, Columns, sums.Pointer);
        LinearTile.Four(panel.Pointer, weight.Pointer + 4 * Columns, Columns, Columns, sums.Pointer + 4 * Lanes);
        Assert.Equal(expected.Span, sums.Slice(0, Rows * Lanes));
        LinearTile.Compute(panel.Pointer, null, weight.Pointer, Columns, Rows, Columns, sums.Pointer);
        Assert.Equal(expected.Span, sums.Slice(0, Rows * Lanes));
        LinearTile.Compute(panel.Pointer, panel.Pointer, weight.Pointer, Columns, Rows, Columns, sums.Pointer);
        Assert.Equal(expected.Span, sums.Slice(0, Rows * Lanes));
        Assert.Equal(expected.Span, sums.Slice(Rows * Lanes, Rows * Lanes));
    }

    [Theory]
    [InlineData(1, 1), InlineData(4, 1), InlineData(1, 700), InlineData(3, 700)]
    public void Linear_InAGraph_IsTheKernel(int threads, int rows)
    {
        const int Height = 96, Width = 64;
        float[] x = Numbers(rows * Width, 9), weight = Numbers(Height * Width, 10);
        Assert.Equal(Product(x, rows, weight, Height, Width, cut: 0), Run(threads, x, [1, rows, Width], weight, [Height, Width]));
    }

    [Theory]
    [InlineData(new long[] { -1, -1, -1 }, false), InlineData(new long[] { -1, 0, -1 }, true), InlineData(new long[] { 2, 1, 0 }, true)]
    public void Linear_NothingWanted_IsZerosWithoutAProduct(long[] wanted, bool isComputed)
    {
        const int Rows = 3, Height = 24, Width = 32;
        float[] x = Numbers(Rows * Width, 11), weight = Numbers(Height * Width, 12);
        Assert.Equal(isComputed ? Product(x, Rows, weight, Height, Width, cut: 0) : new float[Rows * Height], Run(1, x, [Rows, Width], weight, [Height, Width], wanted));
    }

    [Theory]
    [InlineData(new long[] { 2, 6 }, new long[] { 3, 4 })]
    [InlineData(new long[] { 2, 4 }, new long[] { 3, 2, 2 })]
    public void Linear_ShapesThatDoNotFit_AreRefused(long[] x, long[] matrix)
    {
        var error = Assert.Throws<OnnxRuntimeException>(() => Run(1, new float[12], x, new float[12], matrix));
        Assert.Contains("sapo.Linear: x is not [.., in] for a matrix [out, in]", error.Message, StringComparison.Ordinal);
    }

    private static float[] Run(int threads, float[] x, long[] shape, float[] weight, long[] matrix, long[]? wanted = null)
    {
        using var options = OrtPolicyModel.Options(threads, prepack: false);
        KernelOperators.Register(options, threads);
        using var session = new InferenceSession(Graph(shape.Length, matrix.Length, wanted is not null), options);
        using OrtValue input = OrtValue.CreateTensorValueFromMemory(x[..(int)shape.Aggregate((a, b) => a * b)], shape), factor = OrtValue.CreateTensorValueFromMemory(weight, matrix);
        using var run = new RunOptions();
        using var asked = OrtValue.CreateTensorValueFromMemory(wanted ?? [0], [wanted?.Length ?? 1]);
        using var outputs = wanted is null ? session.Run(run, ["x", "matrix"], [input, factor], ["y"]) : session.Run(run, ["x", "matrix", "wanted"], [input, factor, asked], ["y"]);
        return outputs[0].GetTensorDataAsSpan<float>().ToArray();
    }

    private static byte[] Graph(int dimensions, int matrixDimensions, bool asksWhatIsWanted)
    {
        var graph = new GraphBuilder("linear");
        Value x = graph.Input("x", ElementType.Float, Named(dimensions)), matrix = graph.Input("matrix", ElementType.Float, Named(matrixDimensions));
        graph.Node("sapo.Linear", asksWhatIsWanted ? [x, matrix, graph.Input("wanted", ElementType.Int64, new Dimension(0, "rows"))] : [x, matrix], ["y"]);
        graph.Output("y", ElementType.Float, Named(dimensions));
        return graph.WriteModel();
    }

    private static Dimension[] Named(int dimensions) => [.. Enumerable.Range(0, dimensions).Select(i => new Dimension(0, $"d{i}"))];

    // In two parts, as two threads compute it.
    private static float[] Product(float[] x, int rows, float[] weight, int height, int width, int cut)
    {
        var y = new float[rows * height];
        using var panels = new NativeBuffer<float>(LinearKernel.PanelFloats(rows, width));
        fixed (float* px = x, pw = weight, py = y)
        {
            LinearKernel.Pack(px, rows, width, panels.Pointer);
            LinearKernel.Multiply(panels.Pointer, rows, pw, height, width, 0, cut, py);
            LinearKernel.Multiply(panels.Pointer, rows, pw, height, width, cut, height, py);
        }
        return y;
    }

    private static float[] Numbers(int count, int seed) => [.. Enumerable.Range(0, count).Select(i => CounterRandom.Uniform(seed, 0, 0, i) - 0.5f)];
}
