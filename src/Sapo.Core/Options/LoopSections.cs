// The sections of a run file that decide which groups a step trains on, how often, and what comes between policy steps.
namespace Sapo.Core.Options;

/// <summary>
/// Section <c>selection</c>: groups from which nothing can be learned give their place to further prompts, the oldest first.
/// </summary>
public sealed record SelectionOptions
{
    /// <summary>The two values of <see cref="Rule"/>.</summary>
    public const string Informative = "informative", SolveCount = "solve-count";

    /// <summary>
    /// <c>informative</c> keeps groups whose rewards are not all equal (DAPO's dynamic sampling, arXiv 2503.14476);
    /// <c>solve-count</c> keeps those with at least one and at most <see cref="MostSolved"/> solved completions (ACPO,
    /// arXiv 2510.00690). Default informative.
    /// </summary>
    public string Rule { get; init; } = Informative;

    /// <summary>
    /// Most prompts a step may ask, in rollout batches; then it trains on what comes, so that it always ends. Default 4.
    /// </summary>
    public int MostBatches { get; init; } = 4;

    /// <summary>solve-count: a completion is solved when its reward is above this; null (the default) is 0.5.</summary>
    public double? SolvedAbove { get; init; }

    /// <summary>solve-count: with more solved completions a group is too easy; null (the default) is all but one.</summary>
    public int? MostSolved { get; init; }

    internal void Validate(int groupSize)
    {
        OptionCheck.OneOf("selection.rule", Rule, Informative, SolveCount);
        OptionCheck.Holds(MostBatches is >= 2 and <= 1000, "selection.mostBatches", MostBatches, "2 to 1000");
        OptionCheck.Holds(SolvedAbove is null || double.IsFinite(SolvedAbove.Value), "selection.solvedAbove", SolvedAbove, "a finite number");
        OptionCheck.Holds(
            MostSolved is null || (MostSolved >= 1 && MostSolved <= groupSize), "selection.mostSolved", MostSolved, $"1 to rollout.groupSize = {groupSize}");
        OptionCheck.Holds(
            Rule == SolveCount || (MostSolved is null && SolvedAbove is null), "selection.rule", Rule, "solve-count, since mostSolved or solvedAbove is set");
    }
}

/// <summary>
/// Section <c>rollout.overlong</c>: DAPO's soft punishment of long completions (arXiv 2503.14476), added to the reward that is trained on: 0 up
/// to maxNewTokens - cache tokens, then falling linearly to -penalty at maxNewTokens. Logged rewards and pass rates are without it.
/// </summary>
public sealed record OverlongOptions
{
    /// <summary>What <see cref="Penalty"/> is unless it is given.</summary>
    public const double DefaultPenalty = 1;

    /// <summary>Over how many tokens the punishment grows. At most maxNewTokens.</summary>
    public required int Cache { get; init; }

    /// <summary>Its size at maxNewTokens. Default 1.</summary>
    public double Penalty { get; init; } = DefaultPenalty;

    internal void Validate(int maxNewTokens)
    {
        OptionCheck.Holds(Cache >= 1 && Cache <= maxNewTokens, "rollout.overlong.cache", Cache, $"1 to rollout.maxNewTokens = {maxNewTokens}");
        OptionCheck.Holds(double.IsFinite(Penalty) && Penalty > 0, "rollout.overlong.penalty", Penalty, "a positive number");
    }
}

/// <summary>
/// Section <c>curriculum</c>: each prompt is chosen among several candidates by how often its problem has been solved so far.
/// </summary>
public sealed record CurriculumOptions
{
    /// <summary>Problems that each prompt is chosen from, at least 2. Default 4.</summary>
    public int Candidates { get; init; } = 4;

    /// <summary>
    /// The candidate whose solve rate is nearest to this is asked; problems not asked yet count as 0.5, and the first of
    /// equals wins. Default 0.5, where a group teaches most.
    /// </summary>
    public double TargetSolveRate { get; init; } = 0.5;

    /// <summary>A completion is solved when its reward is above this. Default 0.5.</summary>
    public double SolvedAbove { get; init; } = 0.5;

    internal void Validate()
    {
        OptionCheck.Holds(Candidates is >= 2 and <= 10_000, "curriculum.candidates", Candidates, "2 to 10000; or curriculum: null for none");
        OptionCheck.Holds(TargetSolveRate is >= 0 and <= 1, "curriculum.targetSolveRate", TargetSolveRate, "0 to 1");
        OptionCheck.Holds(double.IsFinite(SolvedAbove), "curriculum.solvedAbove", SolvedAbove, "a finite number");
    }
}

/// <summary>
/// Section <c>learner.batchReuse</c>: how often each rollout batch is trained on, growing over the run (ACPO, arXiv 2510.00690; the
/// straight line is ours).
/// </summary>
public sealed record BatchReuseOptions
{
    /// <summary>Uses at the first step. Default 1.</summary>
    public int First { get; init; } = 1;

    /// <summary>Uses at the last step.</summary>
    public required int Last { get; init; }

    internal void Validate()
    {
        OptionCheck.Holds(First >= 1, "learner.batchReuse.first", First, "at least 1");
        OptionCheck.Holds(Last >= First && Last <= 1000, "learner.batchReuse.last", Last, $"first = {First} to 1000");
    }
}

/// <summary>
/// Section <c>preferences</c>: VerIPO's alternation in text form (arXiv 2505.19000). After every so many policy steps a rule-based verifier's
/// preference pairs, built from the completions of those steps, are learned from by DPO with fresh moments; then policy steps
/// go on. The last step of a run has no such stage.
/// </summary>
public sealed record PreferenceOptions
{
    /// <summary>Policy steps between two stages; below the run's steps.</summary>
    public required int EverySteps { get; init; }

    /// <summary>How strongly the policy is held to the one at the stage's beginning. Default 0.1.</summary>
    public double Beta { get; init; } = 0.1;

    /// <summary>Learning rate of the stage. Default 5e-7.</summary>
    public double LearningRate { get; init; } = 5e-7;

    /// <summary>Pairs per optimizer step. Default 32.</summary>
    public int PairsPerUpdate { get; init; } = 32;

    /// <summary>Most pairs taken from one group, in the order of its completions. Default 4.</summary>
    public int PairsPerGroup { get; init; } = 4;

    /// <summary>A completion is right when its reward is above this. Default 0.5.</summary>
    public double SolvedAbove { get; init; } = 0.5;

    /// <summary>Completions with fewer tokens are too short. Default 1: none is.</summary>
    public int LeastTokens { get; init; } = 1;

    /// <summary>Completions repeat themselves when a larger share of their runs of four tokens has occurred before. Default 0.5.</summary>
    public double MostRepetition { get; init; } = 0.5;

    internal void Validate(int steps)
    {
        OptionCheck.Holds(EverySteps >= 1 && EverySteps < steps, "preferences.everySteps", EverySteps, $"1 to steps - 1 = {steps - 1}; or preferences: null for none");
        OptionCheck.Holds(double.IsFinite(Beta) && Beta > 0, "preferences.beta", Beta, "a positive number");
        OptionCheck.Holds(double.IsFinite(LearningRate) && LearningRate > 0, "preferences.learningRate", LearningRate, "a positive number");
        OptionCheck.Holds(PairsPerUpdate >= 1, "preferences.pairsPerUpdate", PairsPerUpdate, "at least 1");
        OptionCheck.Holds(PairsPerGroup >= 1, "preferences.pairsPerGroup", PairsPerGroup, "at least 1");
        OptionCheck.Holds(double.IsFinite(SolvedAbove), "preferences.solvedAbove", SolvedAbove, "a finite number");
        OptionCheck.Holds(LeastTokens >= 1, "preferences.leastTokens", LeastTokens, "at least 1");
        OptionCheck.Holds(MostRepetition is >= 0 and <= 1, "preferences.mostRepetition", MostRepetition, "0 to 1");
    }
}
