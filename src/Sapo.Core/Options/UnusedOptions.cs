// Members of a run file that are well-formed by themselves but would change nothing in the run at hand, because another
// member switches off what they are about. RunOptions.Validated -> here, after every section has been checked by itself.
// A member at its default says nothing, so run.json, which spells out every default, is a run file again.
namespace Sapo.Core.Options;

/// <summary>Refuses options that a run would accept and then ignore.</summary>
internal static class UnusedOptions
{
    private static readonly EngineOptions EngineDefaults = new();
    private static readonly EvaluationOptions EvaluationDefaults = new();

    /// <summary>Refuses the first option without effect.</summary>
    /// <param name="run">A run whose values are all in their ranges.</param>
    /// <exception cref="UserErrorException">An option would change nothing; the message names it and what it would need.</exception>
    public static void Refuse(RunOptions run)
    {
        CheckRollout(run);
        CheckSwap(run);
        CheckGenAi(run.Engine);
        var learner = run.Learner;
        OptionCheck.Holds(
            learner.Schedule != "constant" || learner.FinalLearningRateShare == 0, "learner.finalLearningRateShare", learner.FinalLearningRateShare,
            "0 with learner.schedule constant, which has no end; or schedule linear or cosine");
        var evaluation = run.Evaluation;
        OptionCheck.Holds(
            evaluation.Problems > 0 || evaluation.Samples == EvaluationDefaults.Samples, "evaluation.samples", evaluation.Samples,
            $"{EvaluationDefaults.Samples} with evaluation.problems 0, which evaluates nothing");
        OptionCheck.Holds(
            evaluation.Problems > 0 || evaluation.Temperature == EvaluationDefaults.Temperature, "evaluation.temperature", evaluation.Temperature,
            $"{EvaluationDefaults.Temperature} with evaluation.problems 0, which evaluates nothing");
        if (run.Advantage.Estimator == "gdpo") CheckDecoupled(run);
    }

    private static void CheckRollout(RunOptions run)
    {
        var truncates = run.Rollout.ToSampling(run.Seed).Truncates;
        OptionCheck.Holds(
            truncates || run.Engine.MaxKeptIds == EngineDefaults.MaxKeptIds, "engine.maxKeptIds", run.Engine.MaxKeptIds,
            $"{EngineDefaults.MaxKeptIds} without rollout.topK, topP or minP, which cut something off");
        OptionCheck.Holds(
            !run.Rollout.MinPFirst || (run.Rollout.MinP > 0 && run.Rollout.TopP < 1), "rollout.minPFirst", "true",
            "false unless rollout.minP and rollout.topP both cut: without the two there is no order between them");
    }

    /// <summary>Where engine and learner take turns no completion is running while versions are switched.</summary>
    private static void CheckSwap(RunOptions run)
    {
        var engine = run.Engine;
        OptionCheck.Holds(
            engine.Swap == EngineDefaults.Swap || run.WorksOverlapped(), "engine.swap", engine.Swap,
            $"{EngineDefaults.Swap} with maxStaleness 0 or exactStaleness, where nothing runs while versions are switched");
        OptionCheck.Holds(
            engine.Swap != EngineDefaults.Swap || engine.InFlightKeyValues == EngineDefaults.InFlightKeyValues, "engine.inFlightKeyValues", engine.InFlightKeyValues,
            $"{EngineDefaults.InFlightKeyValues} with engine.swap {EngineDefaults.Swap}, which takes nothing over to a new version; or swap inFlight");
    }

    private static void CheckGenAi(EngineOptions engine)
    {
        if (engine.Session != "genai") return;
        OptionCheck.Holds(
            engine.PrefillChunk == EngineDefaults.PrefillChunk, "engine.prefillChunk", engine.PrefillChunk,
            $"{EngineDefaults.PrefillChunk} with engine.session genai, which computes prompts as a whole");
        OptionCheck.Holds(
            engine.PromptRows == EngineDefaults.PromptRows, "engine.promptRows", engine.PromptRows,
            $"{EngineDefaults.PromptRows} with engine.session genai, which shares no prompts");
    }

    /// <summary>gdpo brings every reward to the same deviation before they are weighed, and the weighted sum once more.</summary>
    private static void CheckDecoupled(RunOptions run)
    {
        OptionCheck.Holds(
            run.Advantage.RewardWeights is null || run.Rollout.Overlong is not null, "advantage.rewardWeights", "given",
            "null where the task's is the only reward, whose size gdpo normalises away; or rollout.overlong beside it");
        OptionCheck.Holds(
            run.Rollout.Overlong is null or { Penalty: OverlongOptions.DefaultPenalty }, "rollout.overlong.penalty", run.Rollout.Overlong?.Penalty,
            $"{OverlongOptions.DefaultPenalty} with advantage.estimator gdpo, which normalises its size away; advantage.rewardWeights weigh it");
    }
}
