// checkpoints/step-000012/ (within a cold start coldstart-000050/) holds the learner's state, state.json and rollouts.jsonl. The folder is written under another name, flushed
// and renamed when it is whole, so a folder with that name is always complete.
using System.Text.Json;
using Sapo.Core;
using Sapo.Hybrid.Rollouts;
using Sapo.Learner;

namespace Sapo.Hybrid.Runs;

/// <summary>
/// What a checkpoint holds beside the learner's state. Random numbers need no state: they are functions of seed and
/// counters.
/// </summary>
public sealed record CheckpointState
{
    /// <summary>Steps done.</summary>
    public required long Step { get; init; }

    /// <summary>The version being served.</summary>
    public required long Version { get; init; }

    /// <summary>The first prompt that no step was trained on. Those from it on whose groups are not in the checkpoint are asked again.</summary>
    public required long NextPrompt { get; init; }

    /// <summary>Run time so far, interruptions left out.</summary>
    public required double ElapsedSeconds { get; init; }

    /// <summary>How far the cold start has come, <see cref="Step"/> being 0; null where there is none under way.</summary>
    public ColdStartProgress? ColdStart { get; init; }

    /// <summary>Solve counts by problem; null without a curriculum.</summary>
    public IReadOnlyDictionary<long, SolveCount>? SolveCounts { get; init; }

    /// <summary>Preference pairs that no stage has learned from yet; null without preference stages.</summary>
    public IReadOnlyList<PreferenceExample>? PreferencePairs { get; init; }

    /// <summary>What the versions sampled so far; null before the first step.</summary>
    public TripwireState? Tripwire { get; init; }
}

/// <summary>The checkpoints of a run.</summary>
public sealed class Checkpoints
{
    private const string StateFile = "state.json", ColdStartPrefix = "coldstart-", StepPrefix = "step-";

    private readonly string _folder;
    private readonly int _keep;

    /// <summary>The checkpoints below a folder.</summary>
    /// <param name="folder">Made where missing.</param>
    /// <param name="keep">How many of the newest stay.</param>
    public Checkpoints(string folder, int keep)
    {
        (_folder, _keep) = (folder, keep);
        Directory.CreateDirectory(folder);
        foreach (var unfinished in Directory.EnumerateDirectories(folder, "*" + AtomicFolder.PartialSuffix)) Directory.Delete(unfinished, recursive: true);
    }

    /// <summary>The newest checkpoint: its folder and state; null if there is none.</summary>
    /// <exception cref="UserErrorException">It cannot be read.</exception>
    public (string Folder, CheckpointState State)? Newest() => All() is [.., var newest] ? (newest, Read(newest)) : null;

    /// <summary>Versions that some checkpoint needs to be served again.</summary>
    public IReadOnlySet<PolicyVersion> Versions() => All().Select(folder => new PolicyVersion(Read(folder).Version)).ToHashSet();

    /// <summary>The judged groups of a checkpoint that no step had trained on.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="sampling">How the run samples.</param>
    /// <exception cref="UserErrorException">They cannot be read.</exception>
    public static IReadOnlyList<ScoredGroup> Waiting(string folder, SamplingOptions sampling) => WaitingGroups.Read(folder, sampling);

    /// <summary>Replaces the judged groups of the newest checkpoint, whose step is still the last one, by what there is now.</summary>
    public void Renew(IReadOnlyList<ScoredGroup> waiting)
    {
        if (All() is [.., var newest]) WaitingGroups.Write(newest, waiting);
    }

    /// <summary>Writes a checkpoint, then removes the oldest ones beyond those to keep.</summary>
    /// <param name="state">Everything but the learner and the groups.</param>
    /// <param name="saveLearner">Writes the learner's state into a folder.</param>
    /// <param name="waiting">Judged groups that no step has trained on; null: none.</param>
    public void Save(CheckpointState state, Action<string> saveLearner, IReadOnlyList<ScoredGroup>? waiting = null)
    {
        var folder = Path.Combine(_folder, state.ColdStart is { } begun ? $"{ColdStartPrefix}{begun.Step:D6}" : $"{StepPrefix}{state.Step:D6}");
        var partial = folder + AtomicFolder.PartialSuffix;
        try
        {
            AtomicFolder.Begin(folder);
            saveLearner(partial);
            WaitingGroups.Write(partial, waiting ?? []);
            AtomicFile.WriteAllBytes(
                Path.Combine(partial, StateFile), JsonSerializer.SerializeToUtf8Bytes(state, RunJson.Default.CheckpointState));
            AtomicFolder.Finish(folder);
        }
        catch
        {
            if (Directory.Exists(partial)) Directory.Delete(partial, recursive: true);
            throw;
        }
        foreach (var old in All().SkipLast(_keep)) Remove(old);
    }

    /// <summary>Oldest first: a cold start's come before the steps'.</summary>
    private List<string> All() => [.. WithPrefix(ColdStartPrefix), .. WithPrefix(StepPrefix)];

    private IEnumerable<string> WithPrefix(string prefix) =>
        Directory.EnumerateDirectories(_folder, prefix + "*")
            .Where(folder => !folder.EndsWith(AtomicFolder.PartialSuffix, StringComparison.Ordinal))
            .OrderBy(folder => folder.Length).ThenBy(folder => folder, StringComparer.Ordinal);

    private static void Remove(string folder)
    {
        Directory.Move(folder, folder + AtomicFolder.PartialSuffix); // from here on it is no checkpoint, whatever stops the removal
        Directory.Delete(folder + AtomicFolder.PartialSuffix, recursive: true);
    }

    private static CheckpointState Read(string folder)
    {
        var path = Path.Combine(folder, StateFile);
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), RunJson.Default.CheckpointState)
                ?? throw new JsonException("the file holds null");
        }
        catch (Exception broken) when (broken is JsonException or IOException)
        {
            throw new UserErrorException(
                $"{path} cannot be read: {broken.Message}", "the state of a checkpoint",
                $"Remove {folder} to go on from the checkpoint before it", broken);
        }
    }
}
