// rollouts.jsonl of a checkpoint: judged groups that no step has trained on yet, a group per line. What a run would only
// compute again, or could not (groups of older versions), is taken from here when it goes on. Numbers are written with as
// many digits as bring them back to the last bit.
using System.Text.Json;
using Sapo.Core;

namespace Sapo.Hybrid.Runs;

/// <summary>One judged group: a line of a checkpoint's rollouts.</summary>
internal sealed record WaitingGroup
{
    /// <summary>The prompt's number.</summary>
    public required long PromptId { get; init; }

    /// <summary>Its ids.</summary>
    public required int[] PromptTokenIds { get; init; }

    /// <summary>Its text, if it has one.</summary>
    public string? Prompt { get; init; }

    /// <summary>The reference answer, if the task has one.</summary>
    public string? Answer { get; init; }

    /// <summary>The problem it asks, where a curriculum chose it.</summary>
    public long? Problem { get; init; }

    /// <summary>The completions, in order of their sample index.</summary>
    public required WaitingCompletion[] Completions { get; init; }

    /// <summary>The same as it is in memory.</summary>
    /// <param name="sampling">How it was sampled: as everything of the run.</param>
    public ScoredGroup ToScored(SamplingOptions sampling) => new(
        new RolloutGroup(
            new Prompt { Id = PromptId, TokenIds = PromptTokenIds, Text = Prompt, Answer = Answer, Problem = Problem },
            [.. Completions.Select((completion, index) => completion.ToCompletion(index))], sampling),
        [.. Completions.Select(completion => (IReadOnlyList<RewardOutcome>)[.. completion.Outcomes.Select(outcome => outcome.ToOutcome())])],
        [.. Completions.Select(completion => completion.Reward)]);

    /// <summary>Whether it can be what <see cref="Of"/> made.</summary>
    public bool IsSound => Completions.Length > 0 && Completions.All(completion =>
        completion.LogProbs.Length == completion.TokenIds.Length
        && (completion.UntruncatedLogProbs ?? completion.LogProbs).Length == completion.TokenIds.Length
        && (completion.KeptTokenIds is null || completion.KeptTokenIds.Length == completion.TokenIds.Length)
        && completion.Spans.All(span => span.Length == 3) && completion.Spans.Sum(span => span[1]) == completion.TokenIds.Length);

    /// <summary>A group's line.</summary>
    public static WaitingGroup Of(ScoredGroup group) => new()
    {
        PromptId = group.Group.Prompt.Id,
        PromptTokenIds = group.Group.Prompt.TokenIds,
        Prompt = group.Group.Prompt.Text,
        Answer = group.Group.Prompt.Answer,
        Problem = group.Group.Prompt.Problem,
        Completions = [.. group.Group.Completions.Select((completion, index) => WaitingCompletion.Of(completion, group.Outcomes[index], group.Rewards[index]))],
    };
}

/// <summary>One completion of a <see cref="WaitingGroup"/>.</summary>
internal sealed record WaitingCompletion
{
    /// <summary>The sampled ids.</summary>
    public required int[] TokenIds { get; init; }

    /// <summary>Behaviour log-probs.</summary>
    public required float[] LogProbs { get; init; }

    /// <summary>Log-probs before truncation, where something was truncated.</summary>
    public float[]? UntruncatedLogProbs { get; init; }

    /// <summary>Per token the ids that truncation kept, if they are known.</summary>
    public int[][]? KeptTokenIds { get; init; }

    /// <summary>Why it ended.</summary>
    public required FinishReason FinishReason { get; init; }

    /// <summary>Per span its first token, number of tokens and version.</summary>
    public required long[][] Spans { get; init; }

    /// <summary>What each reward function said.</summary>
    public required WaitingOutcome[] Outcomes { get; init; }

    /// <summary>The reward, if there is one.</summary>
    public double? Reward { get; init; }

    /// <summary>The same as it is in memory.</summary>
    public Completion ToCompletion(int index) => new()
    {
        SampleIndex = index,
        TokenIds = TokenIds,
        BehaviourLogProbs = LogProbs,
        UntruncatedLogProbs = UntruncatedLogProbs ?? LogProbs,
        KeptTokenIds = KeptTokenIds,
        FinishReason = FinishReason,
        VersionSpans = [.. Spans.Select(span => new VersionSpan((int)span[0], (int)span[1], new PolicyVersion(span[2])))],
    };

    /// <summary>A completion's part of the line.</summary>
    public static WaitingCompletion Of(Completion completion, IReadOnlyList<RewardOutcome> outcomes, double? reward) => new()
    {
        TokenIds = completion.TokenIds,
        LogProbs = completion.BehaviourLogProbs,
        UntruncatedLogProbs = ReferenceEquals(completion.UntruncatedLogProbs, completion.BehaviourLogProbs) ? null : completion.UntruncatedLogProbs,
        KeptTokenIds = completion.KeptTokenIds,
        FinishReason = completion.FinishReason,
        Spans = [.. completion.VersionSpans.Select(span => (long[])[span.Start, span.Count, span.Version.Value])],
        Outcomes = [.. outcomes.Select(WaitingOutcome.Of)],
        Reward = reward,
    };
}

/// <summary>What one reward function said.</summary>
internal sealed record WaitingOutcome(RewardStatus Status, double Value, string? Reason)
{
    /// <summary>The same as it is in memory.</summary>
    public RewardOutcome ToOutcome() => Status switch
    {
        RewardStatus.Score => RewardOutcome.Score(Value),
        RewardStatus.Abstention => RewardOutcome.Abstain(Reason ?? ""),
        _ => RewardOutcome.Fail(Reason ?? ""),
    };

    /// <summary>An outcome's part of the line.</summary>
    public static WaitingOutcome Of(RewardOutcome outcome) => new(outcome.Status, outcome.Value, outcome.Reason);
}

/// <summary>Writes and reads a checkpoint's rollouts.</summary>
internal static class WaitingGroups
{
    private const string FileName = "rollouts.jsonl";

    /// <summary>Writes groups into a folder, in place of those that are there.</summary>
    public static void Write(string folder, IReadOnlyList<ScoredGroup> groups) =>
        AtomicFile.Write(Path.Combine(folder, FileName), stream =>
        {
            foreach (var group in groups)
            {
                JsonSerializer.Serialize(stream, WaitingGroup.Of(group), RunJson.Default.WaitingGroup);
                stream.WriteByte((byte)'\n');
            }
            return groups.Count;
        });

    /// <summary>The groups of a folder; none where it has no such file.</summary>
    /// <param name="folder">A checkpoint.</param>
    /// <param name="sampling">How the run samples.</param>
    /// <exception cref="UserErrorException">The file is broken.</exception>
    public static IReadOnlyList<ScoredGroup> Read(string folder, SamplingOptions sampling)
    {
        var path = Path.Combine(folder, FileName);
        if (!File.Exists(path)) return [];
        try
        {
            return [.. File.ReadLines(path).Select(line => JsonSerializer.Deserialize(line, RunJson.Default.WaitingGroup) is { IsSound: true } group
                ? group.ToScored(sampling)
                : throw new JsonException("a group has no completions, or numbers that do not fit its tokens"))];
        }
        catch (Exception broken) when (broken is JsonException or IOException or ArgumentException)
        {
            throw new UserErrorException($"{path} cannot be read: {broken.Message}", "judged completions, one group per line", "Remove the file: its prompts are then asked again", broken);
        }
    }
}
