using System.Text.Json;
using Sapo.Testing;
using static TorchSharp.torch;

namespace TorchSharp.Tests;

/// <summary>AdamW and clipping against PyTorch's own (step/adamw).</summary>
public sealed class OptimizerGoldenTests
{
    /// <summary>Parameters are below 1 and move by 1e-3 a step: 20 float32 roundings stay below this.</summary>
    private const double Float32Tolerance = 1e-6;

    /// <summary>The same formula in float64.</summary>
    private const double Float64Tolerance = 1e-13;

    /// <summary>A norm of float32 values, relative.</summary>
    private const double NormTolerance = 1e-6;

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void AdamW_OnTheReferenceGradients_TakesTheReferenceSteps()
    {
        int cases = 0;
        string path = Golden.PathOf("step", "adamw", "adamw.json");
        if (File.Exists(path))
        {
            using JsonDocument file = JsonDocument.Parse(File.ReadAllText(path));
            foreach (JsonElement one in file.RootElement.GetProperty("cases").EnumerateArray())
            {
                CheckAdamW(file.RootElement, one);
                cases++;
            }
        }
        Golden.Report("AdamW steps", cases);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void ClipGradNorm_OnTheReferenceGradients_ClipsAsTheReference()
    {
        int cases = 0;
        string path = Golden.PathOf("step", "adamw", "clip.json");
        if (File.Exists(path))
        {
            using JsonDocument file = JsonDocument.Parse(File.ReadAllText(path));
            foreach (JsonElement one in file.RootElement.GetProperty("cases").EnumerateArray())
            {
                CheckClip(one);
                cases++;
            }
        }
        Golden.Report("gradient clipping", cases);
    }

    private static void CheckAdamW(JsonElement root, JsonElement one)
    {
        using DisposeScope scope = NewDisposeScope();
        string name = one.GetProperty("name").GetString()!;
        bool isDouble = one.GetProperty("dtype").GetString() == "float64";
        ScalarType type = isDouble ? ScalarType.Float64 : ScalarType.Float32;
        double tolerance = isDouble ? Float64Tolerance : Float32Tolerance;
        List<(string Name, Modules.Parameter Value)> parameters = [.. root.GetProperty("initial").EnumerateObject().Select(p =>
            (p.Name, new Modules.Parameter(Read(p.Value, type))))];
        JsonElement betas = one.GetProperty("betas");
        using Modules.AdamW optimizer = optim.AdamW(parameters.Select(p => p.Value), one.GetProperty("lr").GetDouble(),
            betas[0].GetDouble(), betas[1].GetDouble(),
            one.GetProperty("eps").GetDouble(), one.GetProperty("weight_decay").GetDouble(), one.GetProperty("amsgrad").GetBoolean());
        JsonElement gradients = root.GetProperty("gradients"), states = one.GetProperty("params_after_step"),
            norms = one.GetProperty("total_norm_before_clipping");
        for (int step = 1; step <= gradients.GetArrayLength(); step++)
        {
            foreach ((string key, Modules.Parameter value) in parameters)
                value.grad = gradients[step - 1].TryGetProperty(key, out JsonElement gradient) ? Read(gradient, type) : null;
            if (one.GetProperty("clip_max_norm") is { ValueKind: JsonValueKind.Number } limit)
            {
                double expected = norms[step - 1].GetDouble(), found = nn.utils.clip_grad_norm_(parameters.Select(p => p.Value),
                    limit.GetDouble());
                Assert.True(Verify.Close(expected, found, isDouble ? Float64Tolerance : NormTolerance),
                    $"{name}, step {step}: norm {found:R}, expected {expected:R}");
            }
            optimizer.step();
            if (!states.TryGetProperty(step.ToString(), out JsonElement after)) continue;
            foreach ((string key, Modules.Parameter value) in parameters) Same(after.GetProperty(key), value, tolerance,
                $"{name}, step {step}, {key}");
        }
        string last = $"state_after_step_{gradients.GetArrayLength()}";
        foreach (((string key, _), Modules.OptimizerState state) in parameters.Zip(optimizer.state_dict().State))
        {
            if (!one.GetProperty(last).TryGetProperty(key, out JsonElement moments)) continue;
            var found = (Modules.AdamW.State)state;
            Assert.Equal(moments.GetProperty("step").GetDouble(), found.step);
            Same(moments.GetProperty("exp_avg"), found.exp_avg, tolerance, $"{name}, {key}, exp_avg");
            Same(moments.GetProperty("exp_avg_sq"), found.exp_avg_sq, tolerance, $"{name}, {key}, exp_avg_sq");
        }
    }

    /// <summary>TorchSharp has no error_if_nonfinite: a caller who wants the error looks at the norm that is returned.</summary>
    private static void CheckClip(JsonElement one)
    {
        using DisposeScope scope = NewDisposeScope();
        string name = one.GetProperty("name").GetString()!;
        Modules.Parameter[] parameters = [.. one.GetProperty("before").EnumerateArray().Select(g =>
            new Modules.Parameter(zeros_like(Read(g, ScalarType.Float32))) { grad = Read(g, ScalarType.Float32) })];
        double norm = nn.utils.clip_grad_norm_(parameters, one.GetProperty("max_norm").GetDouble());
        if (one.GetProperty("raises").ValueKind != JsonValueKind.Null)
        {
            Assert.False(double.IsFinite(norm), $"{name}: the reference raises, the norm is {norm}");
            return;
        }
        Assert.True(Verify.Close(Number(one.GetProperty("total_norm")), norm, NormTolerance), $"{name}: norm {norm:R}");
        int next = 0;
        foreach (JsonElement after in one.GetProperty("after").EnumerateArray()) Same(after, parameters[next++].grad!, Float32Tolerance,
            name);
    }

    private static void Same(JsonElement expected, Tensor found, double tolerance, string what)
    {
        double[] numbers = [.. Flat(expected)], values = Verify.Doubles(found);
        Assert.Equal(numbers.Length, values.Length);
        for (int i = 0; i < numbers.Length; i++) Assert.True(Verify.Close(numbers[i], values[i], tolerance),
            $"{what}[{i}]: expected {numbers[i]:R}, found {values[i]:R}");
    }

    private static Tensor Read(JsonElement array, ScalarType type)
    {
        var shape = new List<long>();
        for (JsonElement level = array; level.ValueKind == JsonValueKind.Array; level = level[0]) shape.Add(level.GetArrayLength());
        // The numbers of the file are float32, written with as few digits as tell them apart.
        return tensor(Flat(array).Select(number => (float)number).ToArray(), [.. shape], type);
    }

    private static IEnumerable<double> Flat(JsonElement element) =>
        element.ValueKind == JsonValueKind.Array ? element.EnumerateArray().SelectMany(Flat) : [Number(element)];

    /// <summary>JSON has no NaN and infinities: they are written as strings.</summary>
    private static double Number(JsonElement element) =>
        element.ValueKind == JsonValueKind.String ? double.Parse(element.GetString()!) : element.GetDouble();
}
