using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>Losses, attention, normalisation and padding against their formulas.</summary>
public sealed class FunctionalTests
{
    private static readonly double[] Logits = [0.2, -0.4, 1, 0.7, 0.1, -1.2];

    private static Tensor X() => tensor(Logits).reshape(2, 3);

    private static Tensor Targets() => tensor(new[] { 2L, 0 });

    private static double LogProb(int row, int column)
    {
        double[] part = Logits[(row * 3)..((row * 3) + 3)];
        return part[column] - Math.Log(part.Sum(Math.Exp));
    }

    [Fact]
    public void CrossEntropy_WithItsOptions_IsTheMeanNegativeLogProb()
    {
        double first = -LogProb(0, 2), second = -LogProb(1, 0);
        Forms(X, [], [(first + second) / 2], x => nn.functional.cross_entropy(x, Targets()), x =>
            nn.functional.nll_loss(x.log_softmax(1), Targets()));
        Forms(X, [2], [first, second], x => nn.functional.cross_entropy(x, Targets(), reduction: nn.Reduction.None), x =>
            nn.functional.nll_loss(x.log_softmax(1), Targets(), reduction: nn.Reduction.None));
        Forms(X, [], [first], x => nn.functional.cross_entropy(x, Targets(), ignore_index: 0, reduction: nn.Reduction.Sum));
        double smooth = (0.9 * first) + (0.1 * -Enumerable.Range(0, 3).Average(c => LogProb(0, c)));
        Forms(X, [], [smooth], x => nn.functional.cross_entropy(x, Targets(), ignore_index: 0, label_smoothing: 0.1));
        Forms(X, [], [((2 * first) + (3 * second)) / 5], x => nn.functional.cross_entropy(x, Targets(), tensor(new[] { 3.0, 1, 2 })));
    }

    [Fact]
    public void Losses_OfDifferences_FollowTheirFormulas()
    {
        double[] a = [1, -2, 0.5], b = [0.25, 1, 0.75];
        double[] d = [.. a.Zip(b, (x, y) => x - y)];
        Tensor B() => tensor(b);
        Forms(() => tensor(a), [], [d.Average(x => x * x)], x => nn.functional.mse_loss(x, B()));
        Forms(() => tensor(a), [], [d.Sum(Math.Abs)], x => nn.functional.l1_loss(x, B(), nn.Reduction.Sum));
        Forms(() => tensor(a), [3], Array.ConvertAll(d, x => Math.Abs(x) < 0.5 ? x * x : Math.Abs(x) - 0.25), x =>
            nn.functional.smooth_l1_loss(x, B(), nn.Reduction.None, 0.5));
        Forms(() => tensor(a), [3], Array.ConvertAll(d, x => Math.Abs(x) < 0.5 ? x * x / 2 : 0.5 * (Math.Abs(x) - 0.25)), x =>
            nn.functional.huber_loss(x, B(), 0.5, nn.Reduction.None));
        Forms(() => tensor(a), [3], [.. a.Zip(b, (x, y) => Math.Exp(y) * (y - x))], x =>
            nn.functional.kl_div(x, B(), reduction: nn.Reduction.None));
        Forms(() => tensor(a), [3], [.. a.Zip(b, (x, y) => y * (Math.Log(y) - x))], x =>
            nn.functional.kl_div(x, B(), log_target: false, nn.Reduction.None));
        double[] p = [0.2, 0.7, 0.4], y = [0, 1, 0.3];
        double[] bce = [.. p.Zip(y, (q, t) => -((t * Math.Log(q)) + ((1 - t) * Math.Log(1 - q))))];
        Forms(() => tensor(p), [], [bce.Average()], x => nn.functional.binary_cross_entropy(x, tensor(y)));
        Forms(() => tensor(p).logit(), [], [bce.Sum()], x => nn.functional.binary_cross_entropy_with_logits(x, tensor(y),
            reduction: nn.Reduction.Sum));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void Attention_WithItsMasks_IsSoftmaxTimesValues(bool causal, bool additive)
    {
        const int Queries = 2, Keys = 3, Width = 2;
        double[] q = [0.3, -0.5, 1, 0.2], k = [0.1, 0.9, -0.4, 0.6, 0.8, -0.2], v = [1, 2, 3, 4, 5, 6], bias = [0, 0.5, -1, 0.25, 0, 0];
        var expected = new double[Queries * Width];
        for (int i = 0; i < Queries; i++)
        {
            var weights = new double[Keys];
            for (int j = 0; j < Keys; j++)
            {
                double score = ((q[i * 2] * k[j * 2]) + (q[(i * 2) + 1] * k[(j * 2) + 1])) / Math.Sqrt(Width);
                bool seen = causal ? j <= i : additive || j != 1;
                weights[j] = seen ? Math.Exp(score + (additive ? bias[(i * Keys) + j] : 0)) : 0;
            }
            for (int j = 0; j < Keys; j++)
                for (int c = 0; c < Width; c++) expected[(i * Width) + c] += weights[j] / weights.Sum() * v[(j * Width) + c];
        }
        Tensor K() => tensor(k).reshape(1, 1, Keys, Width);
        Tensor V() => tensor(v).reshape(1, 1, Keys, Width);
        Tensor? Mask() => causal ? null : additive ? tensor(bias).reshape(1, 1, Queries, Keys) : tensor(new[] { true, false, true });
        Forms(() => tensor(q).reshape(1, 1, Queries, Width), [1, 1, Queries, Width], expected, x =>
            nn.functional.scaled_dot_product_attention(x, K(), V(), Mask(), 0, causal));
        Gradient(keys => nn.functional.scaled_dot_product_attention(tensor(q).reshape(1, 1, Queries, Width), keys, V(), Mask(), 0, causal),
            K());
    }

    [Fact]
    public void Attention_OfContradictoryOptions_IsRefused()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = ones(1, 1, 2, 2);
        Assert.Throws<ArgumentException>(() => nn.functional.scaled_dot_product_attention(x, x, x, ones(2, 2), 0, true));
        Assert.Throws<ArgumentException>(() => nn.functional.scaled_dot_product_attention(x, x, x, p: -1));
    }

    [Fact]
    public void Normalisation_FollowsItsFormula()
    {
        double[] normal = new double[6];
        for (int row = 0; row < 2; row++)
        {
            double[] part = Logits[(row * 3)..((row * 3) + 3)];
            double mean = part.Average(), variance = part.Average(x => (x - mean) * (x - mean));
            for (int i = 0; i < 3; i++) normal[(row * 3) + i] = (part[i] - mean) / Math.Sqrt(variance + 1e-5);
        }
        double[] affine = [.. normal.Select((x, i) => (x * (i % 3)) + 1)];
        Forms(X, [2, 3], normal, x => nn.functional.layer_norm(x, [3]), x => nn.LayerNorm(3, dtype: ScalarType.Float64).call(x), x =>
            nn.LayerNorm([3L], dtype: ScalarType.Float64).call(x));
        Forms(X, [2, 3], affine, x => nn.functional.layer_norm(x, [3], arange(3, ScalarType.Float64), ones(3, ScalarType.Float64)));
        double one = Math.Sqrt(Logits[..3].Sum(x => x * x)), two = Math.Sqrt(Logits[3..].Sum(x => x * x));
        Forms(X, [2, 3], [.. Logits.Select((x, i) => x / (i < 3 ? one : two))], x => nn.functional.normalize(x));
        double dot = Logits[..3].Zip(Logits[3..], (a, b) => a * b).Sum();
        Forms(X, [1], [dot / (one * two)], x => nn.functional.cosine_similarity(x[0..1], x[1..2]));
    }

    [Fact]
    public void Padding_InItsModes_Widens()
    {
        Forms(() => Grid(1, 2), [1, 4], Tenths(0, 1, 2, 0), x => nn.functional.pad(x, 1), x => nn.functional.pad(x, (1, 1)), x =>
            nn.functional.pad(x, [1L, 1]), x => nn.functional.pad(x, stackalloc long[] { 1, 1 }), x =>
            nn.functional.pad(x, 1, PaddingModes.Zeros));
        Forms(() => Grid(1, 2), [2, 2], [0.1, 0.2, 7, 7], x => nn.functional.pad(x, (0, 0, 0, 1), PaddingModes.Constant, 7));
        Forms(() => Grid(1, 3), [1, 5], Tenths(2, 1, 2, 3, 2), x => nn.functional.pad(x, 1, PaddingModes.Reflect));
        Forms(() => Grid(1, 3), [1, 5], Tenths(1, 1, 2, 3, 3), x => nn.functional.pad(x, 1, PaddingModes.Replicate));
    }

    [Fact]
    public void OneHot_MarksTheClass() => Results(() => tensor(new[] { 1L, 0 }), [2, 3], [0, 1, 0, 1, 0, 0], x =>
        nn.functional.one_hot(x, 3));

    [Fact]
    public void Dropout_WhenNotTraining_ChangesNothing() => Forms(X, [2, 3], Logits, x => nn.functional.dropout(x, 0.5, training: false));
}
