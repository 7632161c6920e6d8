using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>Modules: what is registered under which name, conversion, state, hooks.</summary>
public sealed class ModuleTests
{
    [Fact]
    public void Registration_OfFields_NamesThemByPath()
    {
        using var net = new Net();
        Assert.Equal("scale first.weight first.bias rest.0.weight rest.0.bias rest.1.weight",
            string.Join(' ', net.named_parameters().Select(p => p.name)));
        Assert.Equal(6, net.parameters().Count());
        Assert.Equal("mean", string.Join(' ', net.named_buffers().Select(b => b.name)));
        Assert.Single(net.buffers());
        Assert.Equal("first rest rest.0 rest.1", string.Join(' ', net.named_modules().Select(m => m.name)));
        Assert.Equal(4, net.modules().Count());
        Assert.Equal("first rest", string.Join(' ', net.named_children().Select(c => c.name)));
        Assert.Equal(2, net.children().Count());
        Assert.True(net.has_parameter("rest.1.weight") && !net.has_parameter("rest.2.weight") && net.has_buffer("mean") && !net.has_buffer("first.mean"));
        Assert.Equal([2, 2], net.get_parameter("first.weight")!.shape);
        Assert.Null(net.get_buffer("none"));
        Assert.Equal("Net", net.GetName());
    }

    [Fact]
    public void Registration_OfTheSameOrNothing_IsRefused()
    {
        using var net = new Net();
        Assert.Throws<InvalidOperationException>(() => net.register_parameter("scale", nn.Parameter(ones(1))));
        Assert.Throws<InvalidOperationException>(() => net.register_module("first", nn.Linear(1, 1)));
        Assert.Throws<InvalidOperationException>(() => net.register_buffer("mean", ones(1)));
        Assert.Throws<ArgumentNullException>(() => net.register_parameter("other", null!));
        Assert.Throws<ArgumentNullException>(() => net.register_buffer("other", null!));
        Assert.Throws<ArgumentException>(() => net.add_module("a.b", nn.Linear(1, 1)));
        Assert.Throws<InvalidOperationException>(() => nn.SiLU().register_module("inner", nn.Identity()));
        net.register_buffer("hidden", ones(1), persistent: false);
        Assert.False(net.state_dict().ContainsKey("hidden"));
    }

    [Fact]
    public void Conversion_ToFloat64_ReplacesFieldsRegistersAndGradients()
    {
        using DisposeScope scope = NewDisposeScope();
        using var net = new Net();
        net.call(ones(1, 2)).sum().backward();
        using Tensor before = net.get_parameter("first.weight")!.grad!.clone();
        Assert.Same(net, net.to(ScalarType.Float64));
        Assert.All(net.parameters(), p => Assert.Equal(ScalarType.Float64, p.dtype));
        Assert.Equal((ScalarType.Float64, ScalarType.Float64), (net.Scale.dtype, net.Mean.dtype));
        Values(net.get_parameter("first.weight")!.grad!, [2, 2], Doubles(before));
        Assert.Equal([1, 2], net.call(ones(1, 2, ScalarType.Float64)).shape);
        net.to("cpu").to(CPU).to(DeviceType.CPU).cpu().@float().@double().half().bfloat16().to(zeros(1)).to(CPU, ScalarType.Float64);
        Assert.Equal(ScalarType.Float64, net.Scale.dtype);
        Assert.Throws<ArgumentException>(() => net.to(ScalarType.Int64));
    }

    [Fact]
    public void State_SavedAndLoaded_IsTheSame()
    {
        using DisposeScope scope = NewDisposeScope();
        using Net one = new(), two = new();
        (IList<string> missing, IList<string> unexpected) = two.load_state_dict(one.state_dict());
        Assert.Empty(missing.Concat(unexpected));
        Values(two.call(ones(1, 2)), [1, 2], Doubles(one.call(ones(1, 2))));
        Dictionary<string, Tensor> partial = new(StringComparer.Ordinal) { ["scale"] = ones(1) * 3, ["stranger"] = ones(1) };
        Assert.Throws<InvalidOperationException>(() => two.load_state_dict(partial));
        (missing, unexpected) = two.load_state_dict(partial, strict: false, skip: new[] { "mean" });
        Assert.Equal("stranger", string.Join(' ', unexpected));
        Assert.Equal(-1, missing.IndexOf("mean"));
        Values(two.Scale, [1], [3]);
    }

    [Fact]
    public void TrainingAndApply_ReachEveryModule()
    {
        using var net = new Net();
        Assert.True(net.training);
        net.eval();
        Assert.All(net.modules(), module => Assert.False(module.training));
        net.train();
        int visited = 0;
        net.apply(_ => visited++);
        Assert.Equal(5, visited);
        using DisposeScope scope = NewDisposeScope();
        net.call(ones(1, 2)).sum().backward();
        net.zero_grad(set_to_none: false);
        Values(net.Scale.grad!, [1], [0]);
        net.zero_grad();
        Assert.Null(net.Scale.grad);
    }

    [Fact]
    public void Hooks_SeeAndReplace_UntilRemoved()
    {
        using DisposeScope scope = NewDisposeScope();
        using Modules.Linear linear = nn.Linear(nn.Parameter(eye(2)), nn.Parameter(zeros(2)));
        int calls = 0;
        var removers = new[] { linear.register_forward_pre_hook((_, x) => x * 2), linear.register_forward_hook((_, _, y) => y + 1),
            linear.register_forward_hook(_ => calls++), linear.register_forward_pre_hook(_ => calls++) };
        Values(linear.call(ones(1, 2)), [1, 2], [3, 3]);
        Assert.Equal(2, calls);
        foreach (var remover in removers) remover.remove();
        Values(linear.call(ones(1, 2)), [1, 2], [1, 1]);
    }

    [Fact]
    public void Embedding_PicksRowsAndSendsGradientsBack()
    {
        using DisposeScope scope = NewDisposeScope();
        using Modules.Embedding table = nn.Embedding_from_pretrained(Grid(3, 2), freeze: false);
        Tensor picked = table.call(tensor(new[] { 2L, 0, 2 }));
        Values(picked, [3, 2], Tenths(5, 6, 1, 2, 5, 6));
        picked.sum().backward();
        Values(table.weight.grad!, [3, 2], [1, 1, 0, 0, 2, 2]);
        using Modules.Embedding padded = nn.Embedding(3, 2, padding_idx: 1);
        Values(padded.call(tensor(new[] { 1L })), [1, 2], [0, 0]);
        padded.call(tensor(new[] { 1L, 0 })).sum().backward();
        Values(padded.weight.grad!, [3, 2], [1, 1, 0, 0, 0, 0]);
        using Modules.Embedding limited = nn.Embedding_from_pretrained(tensor(new[] { 3.0, 4 }).reshape(1, 2), max_norm: 1);
        // The row is scaled by max_norm / (norm + 1e-7).
        Values(limited.call(tensor(new[] { 0L })), [1, 2], [3 / 5.0000001, 4 / 5.0000001]);
    }

    [Fact]
    public void Containers_KeepTheOrderAndTheNames()
    {
        using DisposeScope scope = NewDisposeScope();
        using Modules.Linear a = nn.Linear(2, 3), b = nn.Linear(3, 1), c = nn.Linear(1, 1);
        Modules.ModuleList<Modules.Linear> list = nn.ModuleList(a, b);
        list.Insert(1, c);
        Assert.True(list.Remove(c) && list.Contains(b) && list.IndexOf(b) == 1 && list.Count == 2);
        Assert.Equal("0.weight 0.bias 1.weight 1.bias", string.Join(' ', list.named_parameters().Select(p => p.name)));
        list.RemoveAt(0);
        Assert.Equal("0.weight 0.bias", string.Join(' ', list.named_parameters().Select(p => p.name)));
        list.Clear();
        list.append(a);
        Assert.Same(a, list[0]);
        Modules.Sequential sequential = nn.Sequential(("in", a), ("act", nn.SiLU(false)), ("out", b));
        Assert.Equal("in.weight in.bias out.weight out.bias", string.Join(' ', sequential.named_parameters().Select(p => p.name)));
        Values(sequential.call(ones(1, 2)), [1, 1], Doubles(b.call(nn.functional.silu(a.call(ones(1, 2))))));
        Assert.Equal(3, nn.Sequential(a, nn.SiLU(), b).Count);
        Assert.Equal(3, nn.Sequential((IEnumerable<nn.Module<Tensor, Tensor>>)[a, nn.SiLU()]).append(b).Count);
    }

    [Fact]
    public void Init_FillsAsNamed()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(3);
        Tensor t = empty(200, 100);
        Values(nn.init.zeros_(t).max(), [], [0]);
        Values(nn.init.ones_(t).min(), [], [1]);
        Values(nn.init.constant_(t, 2.5).min(), [], [2.5]);
        // Standard deviations: 20,000 draws, within 3 %.
        Near(0.5 / Math.Sqrt(3), nn.init.uniform_(t, -0.5, 0.5));
        Near(0.2, nn.init.normal_(t, 0, 0.2));
        Near(Math.Sqrt(2.0 / 100), nn.init.kaiming_normal_(t));
        Near(1 / Math.Sqrt(3 * 100), nn.init.kaiming_uniform_(t, Math.Sqrt(5)));
        Near(Math.Sqrt(2.0 / 300), nn.init.xavier_normal_(t));
        Near(Math.Sqrt(2.0 / 300), nn.init.xavier_uniform_(t));
        Assert.Equal((100, 200), nn.init.CalculateFanInAndFanOut(t));
        Assert.Equal(5.0 / 3, nn.init.calculate_gain(nn.init.NonlinearityType.Tanh));

        static void Near(double expected, Tensor filled) => Assert.InRange(filled.std().ToDouble(), expected * 0.97, expected * 1.03);
    }

    private sealed class Net : nn.Module<Tensor, Tensor>
    {
        private readonly Modules.Parameter scale = nn.Parameter(ones(1));
        private readonly Tensor mean = zeros(2);
        private readonly Modules.Linear first = nn.Linear(2, 2);
        private readonly Modules.ModuleList<Modules.Linear> rest = nn.ModuleList(nn.Linear(2, 2), nn.Linear(2, 2, hasBias: false));

        public Net()
            : base("Net") => RegisterComponents();

        public Tensor Scale => scale;

        public Tensor Mean => mean;

        public override Tensor forward(Tensor input) => rest.Aggregate(first.call(input), (x, layer) => layer.call(x)) * scale + mean;
    }
}
