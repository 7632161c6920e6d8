using static TorchSharp.torch;

namespace TorchSharp.Tests;

/// <summary>Random numbers: the same seed gives the same numbers, and the distributions are those asked for.</summary>
public sealed class RandomTests
{
    private const int Draws = 20_000;

    /// <summary>Five standard errors of the mean of 20,000 draws of unit variance.</summary>
    private const double MeanError = 0.036;

    public static TheoryData<string> Names => [.. Sources.Select(source => source.Name)];

    /// <summary>Name, draws from a generator, mean and variance of the distribution.</summary>
    private static readonly (string Name, Func<Generator, Tensor> Draw, double Mean, double Variance)[] Sources =
    [
        ("rand", g => rand([Draws], generator: g), 0.5, 1.0 / 12),
        ("randn", g => randn([Draws], generator: g), 0, 1),
        ("normal", g => normal(2, 0.5, [Draws], generator: g), 2, 0.25),
        ("normal_", g => zeros(Draws).normal_(2, 0.5, g), 2, 0.25),
        ("uniform_", g => zeros(Draws).uniform_(1, 3, g), 2, 4.0 / 12),
        ("exponential_", g => zeros(Draws).exponential_(2, g), 0.5, 0.25),
        ("bernoulli", g => full(Draws, 0.3).bernoulli(g), 0.3, 0.21),
        ("torch.bernoulli", g => torch.bernoulli(full(Draws, 0.3), g), 0.3, 0.21),
        ("bernoulli_", g => zeros(Draws).bernoulli_(0.3, g), 0.3, 0.21),
        ("bernoulli_ of tensor", g => zeros(Draws).bernoulli_(full(Draws, 0.3), g), 0.3, 0.21),
        ("random_", g => zeros(Draws).random_(0, 4, g), 1.5, 1.25),
        ("randint", g => randint(4, [Draws], generator: g), 1.5, 1.25),
        ("randint from", g => randint(2L, 6, [Draws], generator: g), 3.5, 1.25),
        ("multinomial", g => tensor(new[] { 0.5f, 0.25f, 0.25f }).multinomial(Draws, true, g), 0.75, 0.6875),
        ("torch.multinomial", g => torch.multinomial(tensor(new[] { 0.5f, 0.25f, 0.25f }), Draws, true, g), 0.75, 0.6875),
        ("dropout", g => Seeded(g, () => nn.functional.dropout(ones(Draws), 0.25)), 1, 1.0 / 3),
        ("dropout in place", g => Seeded(g, () => nn.functional.dropout(ones(Draws), 0.25, inplace: true)), 1, 1.0 / 3),
        ("Dropout", g => Seeded(g, () => nn.Dropout(0.25).call(ones(Draws))), 1, 1.0 / 3),
    ];

    [Theory]
    [MemberData(nameof(Names))]
    public void Draw_OfASeed_IsReproducibleAndHasItsMoments(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        (_, Func<Generator, Tensor> draw, double mean, double variance) = Sources.Single(source => source.Name == name);
        Tensor first = draw(new Generator(5)), second = draw(new Generator(5)), other = draw(new Generator(6));
        Assert.Equal(Verify.Doubles(first), Verify.Doubles(second));
        Assert.NotEqual(Verify.Doubles(first), Verify.Doubles(other));
        double[] x = Verify.Doubles(first);
        double found = x.Average(), spread = x.Sum(v => (v - found) * (v - found)) / x.Length;
        Assert.InRange(found, mean - (MeanError * Math.Sqrt(variance)), mean + (MeanError * Math.Sqrt(variance)));
        Assert.InRange(spread, variance * 0.9, variance * 1.1);
    }

    [Fact]
    public void RngState_SetBack_RepeatsTheNumbers()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(7);
        Assert.Equal(7, initial_seed());
        Assert.Equal(7, torch.random.initial_seed());
        Tensor state = get_rng_state();
        double[] first = Verify.Doubles(randn(4, 2));
        set_rng_state(state);
        Assert.Equal(first, Verify.Doubles(randn(4, 2)));
        torch.random.set_rng_state(state);
        Assert.Equal(first, Verify.Doubles(randn(4L, 2L)));
        torch.random.manual_seed(7);
        Assert.Equal(first, Verify.Doubles(randn([4L, 2L])));
        Assert.Equal(Verify.Doubles(get_rng_state()), Verify.Doubles(torch.random.get_rng_state()));
    }

    [Fact]
    public void Generator_SeededAndRestored_Repeats()
    {
        using DisposeScope scope = NewDisposeScope();
        using var generator = new Generator(3);
        Assert.Equal(3, generator.initial_seed());
        Assert.Equal(DeviceType.CPU, generator.device.type);
        Tensor state = generator.get_state();
        double[] first = Verify.Doubles(rand(8, generator: generator));
        generator.set_state(state);
        Assert.Equal(first, Verify.Doubles(rand(8, generator: generator)));
        generator.manual_seed(3);
        Assert.Equal(first, Verify.Doubles(rand(8L, generator: generator)));
        long chosen = generator.seed();
        Assert.Equal(chosen, generator.initial_seed());
        torch.seed();
        torch.random.seed();
    }

    /// <summary>Dropout takes the default generator: it is seeded from the one given.</summary>
    private static Tensor Seeded(Generator generator, Func<Tensor> draw)
    {
        manual_seed(generator.initial_seed());
        return draw();
    }
}
