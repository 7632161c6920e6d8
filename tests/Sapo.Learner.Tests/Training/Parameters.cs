using Sapo.Learner.Model;
using Sapo.Learner.Tests.Model;

namespace Sapo.Learner.Tests.Training;

/// <summary>Compares all parameters of a model with a reference file.</summary>
internal static class Parameters
{
    /// <summary>99.9 % of the entries must be within one tolerance, all within another: where a gradient is nearly 0, AdamW turns rounding noise into a step.</summary>
    public static void Compare(LoadedModel loaded, string file, double most, double worst) =>
        Compare(loaded, file, name => HostArrays.Double(loaded.Parameters[name].Value), most, worst);

    /// <summary>The same for other values of the same names and shapes.</summary>
    public static void Compare(LoadedModel loaded, string file, Func<string, double[]> found, double most, double worst)
    {
        using var golden = new GoldenTensors(file);
        double[] differences = [.. loaded.Parameters.InCheckpointOrder.SelectMany(slot => golden.Values(slot.Name).Zip(found(slot.Name), (expected, value) => Math.Abs(expected - value))).Order()];
        Assert.Equal(loaded.Model.Config.ParameterCount, differences.Length);
        var quantile = differences[(int)(0.999 * (differences.Length - 1))];
        Assert.True(quantile <= most, $"{Path.GetFileName(file)}: 99.9 % of the entries should be within {most:R}, found {quantile:R}");
        Assert.True(differences[^1] <= worst, $"{Path.GetFileName(file)}: the worst entry should be within {worst:R}, found {differences[^1]:R}");
    }
}
