using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Tasks;
using Sapo.Learner;
using Sapo.Learner.Optimization;

namespace Sapo.Hybrid.Runs;

/// <summary>Supervised steps on a task's worked examples, before reinforcement learning.</summary>
internal sealed class ColdStart(
    ColdStartOptions options, double routerBalance, ITrainingTask task, PolicyLearner learner, RunFolder folder, IRunObserver observer, TimeProvider time)
{
    private const int StepsPerLine = 50;

    /// <summary>Runs all steps; cancelled, it leaves nothing and is repeated from its beginning.</summary>
    public int Run(CancellationToken cancel)
    {
        File.Delete(folder.ColdStartMetrics);
        double loss = 0;
        long tokens = 0, tokensBefore = 0;
        int steps = 0;
        using var training = learner.StartSupervised(
            new AdamWOptions { Beta1 = 0.9, Beta2 = 0.98, Epsilon = 1e-8, WeightDecay = 0, MaxGradientNorm = 1 }, routerBalance);
        var started = time.GetTimestamp();
        for (var step = 0; step < options.Steps; step++)
        {
            cancel.ThrowIfCancellationRequested();
            var report = training.Step(Batch(step), options.LearningRateAt(step));
            loss += report.Loss;
            tokens += report.ComputedTokens;
            steps++;
            if ((step + 1) % StepsPerLine != 0 && step + 1 != options.Steps) continue;
            var record = new ColdStartRecord(
                step + 1, loss / steps, options.LearningRateAt(step), tokens,
                (tokens - tokensBefore) / time.GetElapsedTime(started).TotalSeconds);
            RunLog.AppendLine(folder.ColdStartMetrics, JsonSerializer.Serialize(record, RunJson.Default.ColdStartRecord));
            observer.ColdStartAdvanced(record, options.Steps);
            (loss, steps, tokensBefore, started) = (0, 0, tokens, time.GetTimestamp());
        }
        return options.Steps;
    }

    private SupervisedBatch Batch(int step) =>
        new([.. Enumerable.Range(0, options.BatchSize).Select(i => Example((long)step * options.BatchSize + i))]);

    private SupervisedExample Example(long number) =>
        task.Example(number)
            ?? throw new UserErrorException("coldStart is given, but the task has no worked examples", null, "Set coldStart to null");
}
