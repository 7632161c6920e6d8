using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>Optimizers against their formulas in plain C#, step by step.</summary>
public sealed class OptimizerTests
{
    private const int Steps = 5;
    private static readonly double[] Start = [0.5, -1, 2];

    public static TheoryData<string> Names => [.. Cases.Select(one => one.Name)];

    /// <summary>Name, optimizer, and one step of the same in C# on (parameter, gradient, state, step).</summary>
    private static readonly (string Name, Func<Modules.Parameter, optim.Optimizer> Make,
        Func<double, double, double[], int, double> Step)[] Cases =
    [
        ("AdamW", p => optim.AdamW([p], 0.1, weight_decay: 0.01), (p, g, s, k) => Adam(p * (1 - 0.001), g, s, k, amsgrad: false)),
        ("AdamW amsgrad", p => optim.AdamW([p], 0.1, amsgrad: true), (p, g, s, k) => Adam(p, g, s, k, amsgrad: true)),
        ("AdamW maximize", p => optim.AdamW([("p", p)], 0.1, maximize: true), (p, g, s, k) => Adam(p, -g, s, k, amsgrad: false)),
        ("AdamW group", p => optim.AdamW([new Modules.AdamW.ParamGroup([p], 0.1, weight_decay: 0.01)]), (p, g, s, k) =>
            Adam(p * (1 - 0.001), g, s, k, amsgrad: false)),
        ("Adam", p => optim.Adam([p], 0.1, weight_decay: 0.01), (p, g, s, k) => Adam(p, g + (0.01 * p), s, k, amsgrad: false)),
        ("Adam amsgrad", p => optim.Adam([("p", p)], 0.1, amsgrad: true), (p, g, s, k) => Adam(p, g, s, k, amsgrad: true)),
        ("Adam group", p => optim.Adam([new Modules.Adam.ParamGroup([p], 0.1)]), (p, g, s, k) => Adam(p, g, s, k, amsgrad: false)),
        ("SGD", p => optim.SGD([p], 0.1, weight_decay: 0.01), (p, g, _, _) => p - (0.1 * (g + (0.01 * p)))),
        ("SGD momentum", p => optim.SGD([("p", p)], 0.1, momentum: 0.9, dampening: 0.2), (p, g, s, k) =>
            p - (0.1 * (s[0] = k == 1 ? g : (0.9 * s[0]) + (0.8 * g)))),
        ("SGD nesterov", p => optim.SGD([p], 0.1, momentum: 0.9, nesterov: true), (p, g, s, k) =>
            p - (0.1 * (g + (0.9 * (s[0] = k == 1 ? g : (0.9 * s[0]) + g))))),
        ("SGD group", p => optim.SGD([new Modules.SGD.ParamGroup([p], 0.1)], 0.5), (p, g, _, _) => p - (0.1 * g)),
        ("SGD maximize", p => optim.SGD([p], 0.1, maximize: true), (p, g, _, _) => p + (0.1 * g)),
    ];

    [Theory]
    [MemberData(nameof(Names))]
    public void Step_Repeated_FollowsTheFormula(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        (_, var make, var step) = Cases.Single(one => one.Name == name);
        var parameter = new Modules.Parameter(tensor(Start));
        using optim.Optimizer optimizer = make(parameter);
        double[] expected = [.. Start];
        double[][] state = [.. Start.Select(_ => new double[3])];
        for (int k = 1; k <= Steps; k++)
        {
            optimizer.zero_grad();
            parameter.pow(3).sum().backward();
            double[] gradient = Array.ConvertAll(Doubles(parameter), x => 3 * x * x);
            optimizer.step();
            for (int i = 0; i < expected.Length; i++) expected[i] = step(expected[i], gradient[i], state[i], k);
            Values(parameter, [3], expected);
        }
    }

    [Fact]
    public void Step_WithAClosure_ReturnsItsLoss()
    {
        using DisposeScope scope = NewDisposeScope();
        var parameter = new Modules.Parameter(tensor(Start));
        using Modules.SGD optimizer = optim.SGD([parameter], 0.1);
        Tensor? loss = optimizer.step(() =>
        {
            Tensor value = parameter.sum();
            value.backward();
            return value;
        });
        Values(loss!, [], [1.5]);
        Values(parameter, [3], [0.4, -1.1, 1.9]);
    }

    [Fact]
    public void Parameter_WithoutAGradient_IsLeftAlone()
    {
        using DisposeScope scope = NewDisposeScope();
        var parameter = new Modules.Parameter(tensor(Start));
        using Modules.AdamW optimizer = optim.AdamW([parameter], weight_decay: 0.5);
        optimizer.step();
        Values(parameter, [3], Start);
        Assert.Equal(0, ((Modules.AdamW.State)optimizer.state_dict().State[0]).step);
    }

    [Fact]
    public void Options_OfGroups_CanBeChanged()
    {
        using DisposeScope scope = NewDisposeScope();
        Modules.Parameter a = new(ones(1)), b = new(ones(1));
        using Modules.AdamW optimizer = optim.AdamW([new Modules.AdamW.ParamGroup([a], lr: 0.5)], lr: 0.25);
        optimizer.add_param_group(new Modules.AdamW.ParamGroup { Parameters = [b] });
        Assert.Equal([0.5, 0.25], optimizer.ParamGroups.Select(group => group.LearningRate));
        Assert.Equal([0.5, 0.25], optimizer.ParamGroups.Select(group => group.InitialLearningRate));
        Assert.Equal((0.9, 0.999), optimizer.Betas);
        Assert.Equal(2, optimizer.parameters().Count());
        foreach (optim.ILearningRateController group in optimizer.ParamGroups) group.LearningRate = 0;
        (a + b).sum().backward();
        optimizer.step();
        Values(a + b, [1], [2]);
        Assert.Throws<ArgumentException>(() => optim.AdamW([a], lr: -1));
        Assert.Throws<ArgumentException>(() => optim.AdamW([a], beta2: 1));
    }

    [Fact]
    public void State_CopiedToAnother_GoesOnTheSame()
    {
        using DisposeScope scope = NewDisposeScope();
        Modules.Parameter a = new(tensor(Start)), b = new(tensor(Start));
        using Modules.AdamW first = optim.AdamW([a], 0.1), second = optim.AdamW([b], 0.3);
        Step(a, first);
        using (no_grad()) b.copy_(a);
        second.load_state_dict(first.state_dict());
        Assert.True(second.state_dict().State[0].ApproximatelyEquals(first.state_dict().State[0]));
        second.to(CPU);
        Step(a, first);
        Step(b, second);
        Values(b, [3], Doubles(a));
        Assert.False(second.state_dict().State[0].ApproximatelyEquals(new Modules.SGD.State(a)));

        static void Step(Modules.Parameter parameter, optim.Optimizer optimizer)
        {
            optimizer.zero_grad();
            parameter.square().sum().backward();
            optimizer.step();
        }
    }

    [Fact]
    public void Vector_OfParameters_GoesThereAndBack()
    {
        using DisposeScope scope = NewDisposeScope();
        Modules.Parameter a = new(Grid(2)), b = new(Grid(1, 2));
        Values(nn.utils.parameters_to_vector([a, b]), [4], Tenths(1, 2, 1, 2));
        Tensor vector = Grid(4);
        nn.utils.vector_to_parameters(vector, [a, b]);
        Values(b, [1, 2], Tenths(3, 4));
        vector.zero_();
        Values(a, [2], [0, 0]);
    }

    [Fact]
    public void ClipGradValue_LimitsEachElement()
    {
        using DisposeScope scope = NewDisposeScope();
        var parameter = new Modules.Parameter(zeros(2)) { grad = tensor(new[] { -3f, 0.5f }) };
        nn.utils.clip_grad_value_([parameter], 1);
        Values(parameter.grad!, [2], [-1, 0.5]);
        Assert.Equal(0, nn.utils.clip_grad_norm_([new Modules.Parameter(zeros(1))], 1));
    }

    /// <summary>state: first moment, second moment, largest second moment.</summary>
    private static double Adam(double parameter, double gradient, double[] state, int k, bool amsgrad)
    {
        state[0] = (0.9 * state[0]) + (0.1 * gradient);
        state[1] = (0.999 * state[1]) + (0.001 * gradient * gradient);
        state[2] = Math.Max(state[2], state[1]);
        double second = amsgrad ? state[2] : state[1];
        return parameter - (0.1 / (1 - Math.Pow(0.9, k)) * state[0] / ((Math.Sqrt(second) / Math.Sqrt(1 - Math.Pow(0.999, k))) + 1e-8));
    }
}
