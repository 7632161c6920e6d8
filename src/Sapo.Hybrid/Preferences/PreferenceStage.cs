// GRPO -> verifier-built pairs -> DPO -> GRPO (VerIPO, arXiv 2505.19000, in text form):
//
//   groups of a policy step -> verifier -> pairs, kept (and checkpointed) until the stage is due -> DPO steps -> policy steps again
//
// A stage runs within the policy step that it follows: both lead to one version, published once.
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Core.Preferences;
using Sapo.Learner;
using Sapo.Learner.Optimization;

namespace Sapo.Hybrid.Preferences;

/// <summary>What one preference stage did: means over its optimizer steps, before each of them.</summary>
/// <param name="Pairs">Pairs learned from, each once.</param>
/// <param name="Loss">Mean of -log sigmoid(margin).</param>
/// <param name="Accuracy">Share of pairs whose margin was positive.</param>
/// <param name="MeanMargin">Mean margin.</param>
/// <param name="GradientNorm">Mean 2-norm before clipping.</param>
public sealed record PreferenceSummary(int Pairs, double Loss, double Accuracy, double MeanMargin, double GradientNorm);

/// <summary>Collects preference pairs and, when its time has come, trains on them. Runs on the learner's thread.</summary>
/// <param name="options">Section <c>preferences</c>.</param>
/// <param name="steps">Policy steps of the run: the last one has no stage.</param>
/// <param name="learner">Trained.</param>
/// <param name="textOf">A completion as text.</param>
/// <param name="pairs">Pairs that an interrupted run had collected.</param>
internal sealed class PreferenceStage(
    PreferenceOptions options, long steps, PolicyLearner learner, Func<Completion, string> textOf, IReadOnlyList<PreferenceExample> pairs)
{
    private readonly List<PreferenceExample> _pairs = [.. pairs];

    /// <summary>A copy of the pairs not yet learned from: what a checkpoint holds.</summary>
    public IReadOnlyList<PreferenceExample> Pairs => [.. _pairs];

    /// <summary>Takes in a policy step's groups and, when due, learns from what was collected.</summary>
    /// <param name="step">The policy step, from 1.</param>
    /// <param name="groups">Its groups, with the task's rewards.</param>
    /// <returns>Null where no stage was due, or no pair was found.</returns>
    public PreferenceSummary? Advance(long step, IReadOnlyList<ScoredGroup> groups)
    {
        foreach (var group in groups) _pairs.AddRange(PairsOf(group).Take(options.PairsPerGroup));
        if (step % options.EverySteps != 0 || step == steps || _pairs.Count == 0) return null;
        using var training = learner.StartPreferences(new AdamWOptions(), options.Beta);
        var reports = WithSharedPrompts().Chunk(options.PairsPerUpdate).Select(chunk => training.Step(chunk, options.LearningRate)).ToArray();
        var summary = new PreferenceSummary(
            _pairs.Count, reports.Average(report => report.Loss), reports.Average(report => report.Accuracy),
            reports.Average(report => report.MeanMargin), reports.Average(report => report.GradientNorm));
        _pairs.Clear();
        return summary;
    }

    /// <summary>
    /// The pairs, neighbours with equal prompts holding the same array: the learner computes such a prompt once, so the last bits
    /// would otherwise depend on whether the pairs come from memory or from a checkpoint.
    /// </summary>
    private IEnumerable<PreferenceExample> WithSharedPrompts()
    {
        int[] prompt = [];
        foreach (var pair in _pairs)
        {
            if (!pair.PromptTokenIds.AsSpan().SequenceEqual(prompt)) prompt = pair.PromptTokenIds;
            yield return pair with { PromptTokenIds = prompt };
        }
    }

    private IEnumerable<PreferenceExample> PairsOf(ScoredGroup group)
    {
        var completions = group.Group.Completions;
        VerifiedCompletion[] verified = [.. completions.Select((completion, i) => PairVerifier.Verify(completion, textOf(completion), group.Rewards[i], options))];
        return PreferencePairs.Of(verified).Select(pair => new PreferenceExample(
            group.Group.Prompt.TokenIds, completions[pair.Chosen].TokenIds, completions[pair.Rejected].TokenIds));
    }
}
