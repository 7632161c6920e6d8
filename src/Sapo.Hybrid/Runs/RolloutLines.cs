using System.Text.Encodings.Web;
using System.Text.Json;
using Sapo.Core;
using Sapo.Hybrid.Rollouts;

namespace Sapo.Hybrid.Runs;

/// <summary>Judged completions as JSONL: for people, and to replay a step without an engine.</summary>
internal static class RolloutLines
{
    /// <summary>For lines that people read: characters such as + and &gt; as they are.</summary>
    private static readonly RunJson Readable =
        new(new JsonSerializerOptions(RunJson.Default.Options) { TypeInfoResolver = null, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    /// <summary>Writes every completion of some groups, one per line.</summary>
    /// <param name="path">The file; replaced as a whole.</param>
    /// <param name="groups">In order.</param>
    /// <param name="judge">Knows the completions' text.</param>
    public static void Write(string path, IReadOnlyList<ScoredGroup> groups, RewardJudge judge)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        AtomicFile.Write(path, stream =>
        {
            foreach (var group in groups)
                for (var i = 0; i < group.Rewards.Count; i++)
                {
                    JsonSerializer.Serialize(stream, ToRecord(group, i, judge), Readable.RolloutRecord);
                    stream.WriteByte((byte)'\n');
                }
            return groups.Count;
        });
    }

    private static RolloutRecord ToRecord(ScoredGroup group, int index, RewardJudge judge)
    {
        var completion = group.Group.Completions[index];
        return new RolloutRecord
        {
            PromptId = group.Group.Prompt.Id,
            SampleIndex = completion.SampleIndex,
            Prompt = group.Group.Prompt.Text,
            Answer = group.Group.Prompt.Answer,
            Text = judge.TextOf(completion),
            Reward = group.Rewards[index],
            Reason = group.Rewards[index] is null
                ? string.Join("; ", group.Outcomes[index].Select(outcome => outcome.Reason).OfType<string>())
                : null,
            Version = completion.OldestVersion.Value,
            FinishReason = completion.FinishReason.ToString(),
            PromptTokenIds = group.Group.Prompt.TokenIds,
            TokenIds = completion.TokenIds,
            LogProbs = completion.BehaviourLogProbs,
        };
    }
}
