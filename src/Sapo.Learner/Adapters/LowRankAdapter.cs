// An adapter in memory: A and B of every adapted module in flat buffers of their own, in the order
//
//   [ A of every module, in checkpoint order | B of every module, in checkpoint order ]
//
// so that the A of modules whose matrices are stacked follow each other as well.
using System.Globalization;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Learner.Compute;
using Sapo.Learner.Model;
using static TorchSharp.torch;

namespace Sapo.Learner.Adapters;

/// <summary>One adapted layer.</summary>
/// <param name="Name">Its name in the checkpoint, without <c>.weight</c>.</param>
/// <param name="Inputs">Columns of its matrix.</param>
/// <param name="Outputs">Rows of its matrix.</param>
/// <param name="Rank">Rank of A and B.</param>
/// <param name="Scaling">What B A is multiplied with.</param>
internal sealed record AdaptedModule(string Name, long Inputs, long Outputs, int Rank, double Scaling)
{
    /// <summary>The layer it belongs to, of model.layers.N.</summary>
    public int Layer => int.Parse(Name.Split('.')[2], CultureInfo.InvariantCulture);

    /// <summary>The name of A [rank, inputs].</summary>
    public string DownName => Name + ".lora_A.weight";

    /// <summary>The name of B [outputs, rank].</summary>
    public string UpName => Name + ".lora_B.weight";
}

/// <summary>Low-rank matrices beside a model's own; they alone are trained.</summary>
internal sealed class LowRankAdapter : IDisposable
{
    private const string WeightEnding = ".weight";

    private readonly Dictionary<string, AdaptedModule> _modules;

    /// <summary>An adapter of zeros: it changes nothing, and learns nothing until A is drawn or read.</summary>
    /// <param name="options">Which modules, ranks and scalings.</param>
    /// <param name="config">The model.</param>
    /// <param name="precision">Of A and B.</param>
    /// <param name="device">Where they live.</param>
    /// <param name="frozen">True for a reference: without gradients.</param>
    /// <exception cref="UserErrorException">No module of the model is a target, or one that cannot be adapted is.</exception>
    public LowRankAdapter(LoraOptions options, ModelConfig config, ScalarType precision, Device device, bool frozen = false)
    {
        Options = options;
        _modules = ModulesOf(options, config).ToDictionary(module => module.Name, StringComparer.Ordinal);
        Parameters = new FlatParameters(
            [.. Modules.Select(module => (module.DownName, (long[])[module.Rank, module.Inputs])), .. Modules.Select(module => (module.UpName, (long[])[module.Outputs, module.Rank]))],
            precision, device, frozen);
    }

    /// <summary>What it was made from.</summary>
    public LoraOptions Options { get; }

    /// <summary>The adapted modules, in checkpoint order.</summary>
    public IReadOnlyCollection<AdaptedModule> Modules => _modules.Values;

    /// <summary>A and B.</summary>
    public FlatParameters Parameters { get; }

    /// <summary>The module of a name, or null if it is not adapted.</summary>
    public AdaptedModule? Find(string name) => _modules.GetValueOrDefault(name);

    /// <summary>Every layer of a model that could be adapted: its matrices but for embedding and head.</summary>
    public static IEnumerable<(string Name, long[] Shape)> AdaptableModules(ModelConfig config) =>
        config.Parameters().Where(parameter => parameter.Shape.Length == 2 && parameter.Name is not ("model.embed_tokens.weight" or "lm_head.weight"))
            .Select(parameter => (parameter.Name[..^WeightEnding.Length], parameter.Shape));

    /// <summary>The layers of a model that some options adapt, in checkpoint order.</summary>
    /// <exception cref="UserErrorException">No module of the model is a target, or one that cannot be adapted is.</exception>
    public static IReadOnlyList<AdaptedModule> ModulesOf(LoraOptions options, ModelConfig config)
    {
        if (options.IsTarget("lm_head") || options.IsTarget("model.embed_tokens"))
            throw new UserErrorException("The adapter's targets include the embedding or the head", "layers of attention and MLP", "Leave embed_tokens and lm_head out of the targets");
        AdaptedModule[] modules = [.. AdaptableModules(config).Where(module => options.IsTarget(module.Name)).Select(module =>
        {
            var (rank, alpha) = options.Of(module.Name);
            return new AdaptedModule(module.Name, module.Shape[1], module.Shape[0], rank, options.Scaling(rank, alpha));
        })];
        if (modules.Length == 0)
            throw new UserErrorException(
                $"No layer of this {config.ModelType} model is a target of the adapter ({options.TargetPattern ?? string.Join(", ", options.Targets())})", "names such as q_proj", "Correct the targets");
        return modules;
    }

    /// <summary>Refuses options of a run file of which a part fits no layer of the model. A configuration written by PEFT may name more than its model has.</summary>
    /// <exception cref="UserErrorException">A target, layer or expression would be ignored.</exception>
    public static void RefuseUnused(LoraOptions options, ModelConfig config)
    {
        if (options.FirstUnused(AdaptableModules(config).Select(module => module.Name)) is { } unused)
            throw new UserErrorException(
                $"learner.lora.{unused}, which fits no adapted layer of this {config.ModelType} model of {config.LayerCount} layers", "names, layers and expressions that each fit one", "Correct it or leave it out");
    }

    /// <summary>Draws A uniformly from +-1/sqrt(inputs), as PEFT does (Kaiming's with a = sqrt 5); B stays 0, so the model is unchanged at first.</summary>
    /// <param name="seed">The run's seed.</param>
    public void Initialize(long seed)
    {
        var index = 0;
        foreach (var module in Modules)
        {
            using var scope = NewDisposeScope();
            var values = new float[module.Rank * module.Inputs];
            var bound = 1 / Math.Sqrt(module.Inputs);
            for (var place = 0; place < values.Length; place++) values[place] = (float)(bound * (2.0 * CounterRandom.Uniform(seed, promptId: index, sampleIndex: 0, place) - 1));
            Parameters[module.DownName].Value.copy_(tensor(values).view(module.Rank, module.Inputs));
            index++;
        }
    }

    /// <summary>The path beside the product of some modules whose matrices are stacked; null if none of them is adapted.</summary>
    /// <param name="modules">Names and rows of the stacked matrices, in order.</param>
    public LowRankPath? Path(IEnumerable<(string Name, long Rows)> modules)
    {
        var parts = new List<LowRankPart>();
        var downs = new List<string>();
        long rank = 0, output = 0;
        foreach (var (name, rows) in modules)
        {
            if (Find(name) is { } module)
            {
                parts.Add(new LowRankPart(Parameters[module.UpName], module.Scaling, rank, output));
                downs.Add(module.DownName);
                rank += module.Rank;
            }
            output += rows;
        }
        return parts.Count == 0 ? null : new LowRankPath(Parameters.Packed([.. downs]), parts);
    }

    /// <summary>Writes W + scaling B A of one module.</summary>
    /// <param name="module">The module.</param>
    /// <param name="weight">W [outputs, inputs].</param>
    /// <param name="merged">[outputs, inputs]: overwritten.</param>
    public void Merge(AdaptedModule module, Tensor weight, Tensor merged)
    {
        using var scope = NewDisposeScope();
        Products.AddTo(merged.copy_(weight), Parameters[module.UpName].Value * module.Scaling, Parameters[module.DownName].Value);
    }

    /// <summary>An adapter of the same matrices without gradients, owned by the caller.</summary>
    public LowRankAdapter FrozenCopy(ModelConfig config)
    {
        var copy = new LowRankAdapter(Options, config, Parameters.Values.dtype, Parameters.Values.device, frozen: true);
        copy.Parameters.Values.copy_(Parameters.Values);
        return copy;
    }

    /// <inheritdoc />
    public void Dispose() => Parameters.Dispose();
}
