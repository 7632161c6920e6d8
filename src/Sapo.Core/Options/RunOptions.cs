// The whole run file as one immutable record. RunOptionsReader reads it from JSON, checks it once and writes it back with
// every default spelled out; nothing else in the program looks at the file. Its sections are in RunOptionsSections.cs.
namespace Sapo.Core.Options;

/// <summary>Everything that decides a run: one JSON file under <c>runs/</c>.</summary>
public sealed record RunOptions
{
    /// <summary>
    /// The run's name; also the folder <c>runs/out/&lt;name&gt;</c> unless another is given. Letters, digits, dots,
    /// hyphens and underscores.
    /// </summary>
    public required string Name { get; init; }

    /// <summary>The seed of initial weights, data order and sampling. Default 1.</summary>
    public long Seed { get; init; } = 1;

    /// <summary>Where the first policy comes from.</summary>
    public required ModelOptions Model { get; init; }

    /// <summary>What is asked, and how answers are judged.</summary>
    public required TaskOptions Task { get; init; }

    /// <summary>
    /// Supervised steps before reinforcement learning, on the task's worked examples; null (the default) starts from
    /// the model as it is.
    /// </summary>
    public ColdStartOptions? ColdStart { get; init; }

    /// <summary>What one step samples.</summary>
    public RolloutOptions Rollout { get; init; } = new();

    /// <summary>Which groups a step trains on; null (the default) takes every group.</summary>
    public SelectionOptions? Selection { get; init; }

    /// <summary>Which problems are asked; null (the default) asks them as they come.</summary>
    public CurriculumOptions? Curriculum { get; init; }

    /// <summary>The rollout engine.</summary>
    public EngineOptions Engine { get; init; } = new();

    /// <summary>What is optimised.</summary>
    public ObjectiveOptions Objective { get; init; } = new();

    /// <summary>How rewards become advantages.</summary>
    public AdvantageOptions Advantage { get; init; } = new();

    /// <summary>The learner.</summary>
    public LearnerOptions Learner { get; init; } = new();

    /// <summary>Preference stages between policy steps; null (the default) has none.</summary>
    public PreferenceOptions? Preferences { get; init; }

    /// <summary>Policy steps: rollout batches trained on. At least 1.</summary>
    public required int Steps { get; init; }

    /// <summary>
    /// Most versions that a trained group may lie behind the learner; 0 (the default) is synchronous training. With more,
    /// rollouts run ahead while the learner works.
    /// </summary>
    public int MaxStaleness { get; init; }

    /// <summary>
    /// True makes every group exactly <see cref="MaxStaleness"/> versions old (in the first steps as old as can be): the
    /// learner waits until everything that may be sampled ahead has been. Engine and learner then take turns, and the run
    /// gives the same numbers when it is repeated. Default false: groups are as fresh as the engine makes them.
    /// </summary>
    public bool ExactStaleness { get; init; }

    /// <summary>A stage without progress for so long fails the run with its name. Default 600.</summary>
    public double StallTimeoutSeconds { get; init; } = 600;

    /// <summary>A run that will need more physical memory than this, in GiB, is refused before it begins; null (the default) takes the machine's, or the container's.</summary>
    public double? MemoryLimitGiB { get; init; }

    /// <summary>When the run stops because its policy looks broken.</summary>
    public TripwireOptions Tripwire { get; init; } = new();

    /// <summary>Held-out problems, asked before and after training.</summary>
    public EvaluationOptions Evaluation { get; init; } = new();

    /// <summary>What is kept so that an interrupted run can go on.</summary>
    public CheckpointOptions Checkpoint { get; init; } = new();

    /// <summary>What is written for people.</summary>
    public LogOptions Log { get; init; } = new();

    /// <summary>Whether engine and learner work at the same time, so that the cores must be divided between them.</summary>
    public bool WorksOverlapped() => MaxStaleness > 0 && !ExactStaleness;

    /// <summary>Checks every value and how they fit together, once, at the edge.</summary>
    /// <returns>The same with the defaults of objective and advantage filled in, which depend on their names.</returns>
    /// <exception cref="UserErrorException">A value is out of its range; the message names the member by its path.</exception>
    public RunOptions Validated()
    {
        OptionCheck.Holds(
            Name.Length is > 0 and <= 100 && Name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_') && Name[0] != '.',
            "name", $"\"{Name}\"", "1 to 100 letters, digits, dots, hyphens and underscores, not beginning with a dot");
        OptionCheck.Holds(Steps >= 1, "steps", Steps, "at least 1");
        OptionCheck.Holds(MaxStaleness is >= 0 and <= 1000, "maxStaleness", MaxStaleness, "0 to 1000");
        OptionCheck.Holds(
            double.IsFinite(StallTimeoutSeconds) && StallTimeoutSeconds is > 0 and <= 86400 * 7, "stallTimeoutSeconds", StallTimeoutSeconds,
            "a positive number, at most a week");
        OptionCheck.Holds(MemoryLimitGiB is null or (> 0 and <= 1 << 20), "memoryLimitGiB", MemoryLimitGiB, "a positive number, or null for the machine's memory");
        Model.Validate();
        Task.Validate();
        ColdStart?.Validate();
        Rollout.Validate();
        Selection?.Validate(Rollout.GroupSize);
        Curriculum?.Validate();
        Engine.Validated();
        Learner.Validated();
        Preferences?.Validate(Steps);
        Tripwire.Validate();
        Evaluation.Validated();
        Checkpoint.Validate();
        Log.Validate();
        OptionCheck.Holds(Rollout.PromptsPerStep >= Learner.MiniBatches, "learner.miniBatches", Learner.MiniBatches,
            $"at most rollout.promptsPerStep = {Rollout.PromptsPerStep}, since a mini-batch holds whole groups");
        OptionCheck.Holds(
            Task is not JsonlTaskOptions || ColdStart is null, "coldStart", "given",
            "null with a jsonl task, which has no worked examples");
        OptionCheck.Holds(
            Task is not JsonlTaskOptions { HeldOut: null } || Evaluation.Problems == 0, "evaluation.problems", Evaluation.Problems,
            "0, because task.heldOut names no file of held-out problems");
        OptionCheck.Holds(
            Task is not JsonlTaskOptions || Model.Folder is not null, "model", "create",
            "model.folder with a jsonl task, which needs a model with a tokenizer");
        OptionCheck.Holds(Model.Adapter is null || Learner.Lora is null, "learner.lora", "given", "null beside model.adapter, which brings its own");
        var resolved = this with { Objective = ResolvedObjective(), Advantage = ResolvedAdvantage() };
        UnusedOptions.Refuse(resolved);
        return resolved;
    }

    /// <summary>The objective with its defaults; the constant that some divide by is the longest completion unless it is given.</summary>
    private ObjectiveOptions ResolvedObjective()
    {
        var objective = Objective.WithNormConstant(Rollout.MaxNewTokens).Resolved();
        OptionCheck.Holds(
            objective.Name != "capo" || (Learner.Lora is null && Model.Adapter is null), "objective.name", "capo",
            "another objective with learner.lora or model.adapter: capo predicts what a step does to the output projection, which an adapter leaves as it is");
        OptionCheck.Holds(
            MaxStaleness == 0 || objective is not { Name: "dppo", TopK: not null }, "objective.divergence", objective.Divergence,
            "binary-tv or binary-kl with a maxStaleness above 0: topk-tv and topk-kl compare with the sampler's most likely tokens, which the learner knows only where the sampler is its own old policy");
        return objective;
    }

    private AdvantageOptions ResolvedAdvantage()
    {
        var advantage = Advantage.Resolved();
        OptionCheck.Holds(
            advantage.KlCoefficient is null or 0, "advantage.klCoefficient", advantage.KlCoefficient,
            "0 in a run, where rewards are judged before a reference policy is asked; objective.kl is the penalty to use");
        OptionCheck.Holds(
            advantage.Gamma is null or 1 || Objective.Name is not ("gmpo" or "sspo-sigmoid" or "sspo-arctan"), "advantage.gamma", advantage.Gamma,
            $"1 with objective {Objective.Name}, which takes one advantage per completion");
        var rewards = Rollout.Overlong is null ? 1 : 2; // the task's and the punishment of long completions
        OptionCheck.Holds(
            advantage.RewardWeights is null || advantage.RewardWeights.Count == rewards, "advantage.rewardWeights", $"{advantage.RewardWeights?.Count} numbers",
            rewards == 1 ? "one number, for the task's reward" : "two numbers, for the task's reward and for rollout.overlong");
        return advantage;
    }
}
