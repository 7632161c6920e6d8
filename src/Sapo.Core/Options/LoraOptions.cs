using System.Text.RegularExpressions;

namespace Sapo.Core.Options;

/// <summary>
/// Low-rank adaptation (arXiv 2106.09685): section <c>learner.lora</c> of a run file, and what adapter_config.json says. An
/// adapted layer computes W x + scaling * B (A x); W stays as it is, A [rank, in] and B [out, rank] are trained. Names and
/// matching rules are those of PEFT.
/// </summary>
public sealed record LoraOptions
{
    private const int MaxRank = 1 << 16;

    private static readonly TimeSpan MatchTimeout = TimeSpan.FromSeconds(1); // for expressions that would backtrack for ever

    /// <summary>Rank of A and B. Default 16.</summary>
    public int Rank { get; init; } = 16;

    /// <summary>The scaling is alpha / rank, with <see cref="UseRslora"/> alpha / sqrt(rank). Default 32.</summary>
    public double Alpha { get; init; } = 32;

    /// <summary>Rank-stabilised scaling (arXiv 2312.03732). Default false.</summary>
    public bool UseRslora { get; init; }

    /// <summary>
    /// The adapted layers, by the end of their names. Default: every linear layer of attention and MLP. Null where
    /// <see cref="TargetPattern"/> says it.
    /// </summary>
    public IReadOnlyList<string>? TargetModules { get; init; }

    /// <summary>A regular expression for the whole name of an adapted layer, such as <c>.*\.mlp\.(gate|up)_proj</c>; null where a list says it.</summary>
    public string? TargetPattern { get; init; }

    /// <summary>Only these layers of the model, counted from 0; null: all. Not with <see cref="TargetPattern"/>.</summary>
    public IReadOnlyList<int>? LayersToTransform { get; init; }

    /// <summary>Ranks that differ: a regular expression for the end of the name, and the rank. The first that matches counts.</summary>
    public IReadOnlyDictionary<string, int> RankPattern { get; init; } = new Dictionary<string, int>(StringComparer.Ordinal);

    /// <summary>Alphas that differ, found in the same way.</summary>
    public IReadOnlyDictionary<string, double> AlphaPattern { get; init; } = new Dictionary<string, double>(StringComparer.Ordinal);

    /// <summary>What <see cref="TargetModules"/> is where neither list nor expression is given.</summary>
    public static IReadOnlyList<string> DefaultTargets { get; } = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

    /// <summary>The list in force; empty where an expression decides.</summary>
    public IReadOnlyList<string> Targets() => TargetPattern is null ? TargetModules ?? DefaultTargets : [];

    /// <summary>Whether a layer is adapted.</summary>
    /// <param name="module">Its full name, such as <c>model.layers.0.self_attn.q_proj</c>.</param>
    public bool IsTarget(string module)
    {
        if (TargetPattern is { } pattern) return IsMatch($"^(?:{pattern})$", module);
        if (Targets().Contains(module, StringComparer.Ordinal)) return true;
        return Targets().Any(target => module.EndsWith("." + target, StringComparison.Ordinal)) && (LayersToTransform is null || LayersToTransform.Contains(LayerOf(module)));
    }

    /// <summary>Rank and alpha of an adapted layer.</summary>
    /// <param name="module">Its full name.</param>
    public (int Rank, double Alpha) Of(string module) => (First(RankPattern, module, Rank), First(AlphaPattern, module, Alpha));

    /// <summary>What B A is multiplied with.</summary>
    public double Scaling(int rank, double alpha) => alpha / (UseRslora ? Math.Sqrt(rank) : rank);

    /// <summary>Checks every value once, at the edge.</summary>
    /// <param name="place">Where the options come from, put before a member's name in messages.</param>
    /// <param name="remedy">What to do about a wrong one.</param>
    /// <param name="nameOf">What a member is called there; null: as in a run file.</param>
    /// <exception cref="UserErrorException">A value is out of its range, or two exclude each other.</exception>
    public LoraOptions Validated(string place = "learner.lora.", string remedy = "Correct the run file", Func<string, string>? nameOf = null)
    {
        string Name(string member) => nameOf?.Invoke(member) ?? member;
        void Holds(bool holds, string name, object value, string expected)
        {
            if (!holds) throw new UserErrorException($"{place}{name} is {value}", expected, remedy);
        }

        Holds(Rank is >= 1 and <= MaxRank, Name("rank"), Rank, $"1 to {MaxRank}");
        Holds(IsScale(Alpha), Name("alpha"), Alpha, "a positive number");
        Holds(TargetPattern is null || TargetModules is null, Name("targetPattern"), $"given beside {Name("targetModules")}", "one of the two");
        Holds(Targets().Count > 0 || TargetPattern is not null, Name("targetModules"), "empty", "at least one name");
        Holds(TargetPattern is null || LayersToTransform is null, Name("layersToTransform"), $"given beside an expression in {Name("targetPattern")}", "null, because the expression names the layers");
        Holds(LayersToTransform is null || (LayersToTransform.Count > 0 && LayersToTransform.All(layer => layer >= 0)), Name("layersToTransform"), "empty or negative", "layers from 0");
        foreach (var (key, rank) in RankPattern) Holds(rank is >= 1 and <= MaxRank, $"{Name("rankPattern")}.{key}", rank, $"1 to {MaxRank}");
        foreach (var (key, alpha) in AlphaPattern) Holds(IsScale(alpha), $"{Name("alphaPattern")}.{key}", alpha, "a positive number");
        (string Member, IEnumerable<string> Texts)[] expressions = [("rankPattern", RankPattern.Keys), ("alphaPattern", AlphaPattern.Keys), ("targetPattern", [TargetPattern ?? ""])];
        foreach (var (member, texts) in expressions)
            foreach (var text in texts) Holds(IsExpression(text), Name(member), $"\"{text}\"", "a regular expression");
        return this;
    }

    /// <summary>The first target, layer or expression given that fits no layer of a model, and so would be ignored; null if each fits some.</summary>
    /// <param name="modules">The names of all layers that could be adapted.</param>
    public string? FirstUnused(IEnumerable<string> modules)
    {
        string[] all = [.. modules], adapted = [.. all.Where(IsTarget)];
        if (TargetModules?.FirstOrDefault(target => !all.Any((this with { TargetModules = [target], LayersToTransform = null }).IsTarget)) is { } name)
            return $"targetModules holds {name}";
        if (LayersToTransform?.Cast<int?>().FirstOrDefault(layer => !adapted.Any(module => LayerOf(module) == layer)) is { } missing)
            return $"layersToTransform holds {missing}";
        bool FitsNone(string pattern) => !adapted.Any(module => IsMatch(EndingWith(pattern), module));
        if (RankPattern.Keys.FirstOrDefault(FitsNone) is { } rank) return $"rankPattern holds {rank}";
        return AlphaPattern.Keys.FirstOrDefault(FitsNone) is { } alpha ? $"alphaPattern holds {alpha}" : null;
    }

    private static bool IsScale(double alpha) => double.IsFinite(alpha) && alpha > 0;

    private static T First<T>(IReadOnlyDictionary<string, T> patterns, string module, T otherwise)
    {
        foreach (var (key, value) in patterns)
            if (IsMatch(EndingWith(key), module)) return value;
        return otherwise;
    }

    private static string EndingWith(string pattern) => $@"^(?:.*\.)?(?:{pattern})$";

    /// <summary>The number after the last part of a name that is followed by one: the layer, within an expert the expert.</summary>
    private static int LayerOf(string module) =>
        Regex.Match(module, @"^.*\.[^.]*\.(?<layer>\d{1,9})\.", RegexOptions.ExplicitCapture, MatchTimeout) is { Success: true } match
            ? int.Parse(match.Groups["layer"].Value, System.Globalization.CultureInfo.InvariantCulture)
            : -1;

    private static bool IsExpression(string expression)
    {
        try
        {
            _ = new Regex(expression, RegexOptions.CultureInvariant, MatchTimeout);
            return true;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    private static bool IsMatch(string expression, string module)
    {
        try
        {
            return Regex.IsMatch(module, expression, RegexOptions.CultureInvariant, MatchTimeout);
        }
        catch (RegexMatchTimeoutException slow)
        {
            throw new UserErrorException($"The expression {expression} takes too long on {module}", "one that needs no second", "Write it without nested repetitions", slow);
        }
    }
}
