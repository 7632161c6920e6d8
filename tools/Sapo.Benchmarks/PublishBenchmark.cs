using System.Diagnostics;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Profiling;
using Sapo.Learner;
using Sapo.Learner.Objectives;
using Sapo.Sync;

namespace Sapo.Benchmarks;

/// <summary>Times a publish beside writing a plain file of the same size, in turns.</summary>
internal static class PublishBenchmark
{
    private static readonly int[] ProbeTokens = [1, 2, 3, 4];

    /// <summary>Publishes; the fastest of the turns counts.</summary>
    public static async Task<PublishTimes> RunAsync(ProfiledModel model, int turns, CancellationToken cancel)
    {
        var folder = Directory.CreateTempSubdirectory("sapo-publish-").FullName;
        try
        {
            using var learner = new PolicyLearner(model.Folder, new LearnerOptions(), ObjectiveRegistry.Create(new ObjectiveOptions(), model.Config.VocabSize));
            using var publisher = new PolicyPublisher(Path.Combine(folder, "policies"), model.Folder, TimeProvider.System);
            var snapshot = learner.Snapshot([ProbeTokens]);
            var (publish, plain) = (double.PositiveInfinity, double.PositiveInfinity);
            for (var turn = 0; turn <= turns; turn++) // the first one compiles code and writes the constant files: it does not count
            {
                var start = Stopwatch.GetTimestamp();
                await publisher.PublishAsync(snapshot with { Version = new PolicyVersion(turn) }, cancel);
                var published = Stopwatch.GetElapsedTime(start).TotalSeconds;
                start = Stopwatch.GetTimestamp();
                AtomicFile.Write(Path.Combine(folder, "plain"), stream => WriteAll(stream, snapshot));
                var written = Stopwatch.GetElapsedTime(start).TotalSeconds;
                if (turn > 0) (publish, plain) = (Math.Min(publish, published), Math.Min(plain, written));
                publisher.Retain(new HashSet<PolicyVersion>());
            }
            return new PublishTimes(snapshot.Tensors.Sum(tensor => tensor.Data.Length), publish, plain);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static int WriteAll(Stream stream, WeightSnapshot snapshot)
    {
        foreach (var (_, piece) in snapshot.Tensors.SelectMany(tensor => tensor.Data.Pieces())) stream.Write(piece.Span);
        return snapshot.Tensors.Count;
    }
}
