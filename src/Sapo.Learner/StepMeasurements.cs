using System.Diagnostics;
using Sapo.Core;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;

namespace Sapo.Learner;

/// <summary>Collects what one policy step reports.</summary>
internal sealed class StepMeasurements(DecoderModel model)
{
    private readonly Dictionary<string, double> _seconds = new(StringComparer.Ordinal);
    private readonly List<MiniBatchReport> _miniBatches = [];
    private readonly Dictionary<string, double> _metrics = new(StringComparer.Ordinal);
    private readonly List<double> _positiveWeights = [], _negativeWeights = [];
    private MismatchDiagnostics? _mismatch;
    private double? _routerBalance;
    private double _timed, _entropySum, _flops, _flopsWithoutSharing, _clipped;
    private long _trainedTokens, _computedTokens, _totalTokens;

    /// <summary>Runs something and adds its duration to a phase, without that of phases within it.</summary>
    public T Time<T>(string phase, Func<T> run)
    {
        var (start, timedBefore) = (Stopwatch.GetTimestamp(), _timed);
        var result = run();
        var elapsed = Stopwatch.GetElapsedTime(start).TotalSeconds;
        _seconds[phase] = _seconds.GetValueOrDefault(phase) + elapsed - (_timed - timedBefore);
        _timed = timedBefore + elapsed;
        return result;
    }

    /// <summary>Counts a micro-batch that went forward and backward.</summary>
    public void Add(PackedTokens packed)
    {
        _computedTokens += packed.TokenCount;
        _trainedTokens += packed.Targets.Length;
        _flops += FlopCount.Training(model.Config, packed, model.Weights.Adapter);
        _flopsWithoutSharing += FlopCount.TrainingWithoutSharing(model.Config, packed, model.Weights.Adapter);
    }

    /// <summary>Counts a micro-batch that some policy computed without a gradient.</summary>
    public void AddForward(DecoderModel policy, PackedTokens packed)
    {
        _flops += FlopCount.Forward(policy.Config, packed, policy.Weights.Adapter);
        _flopsWithoutSharing += FlopCount.ForwardWithoutSharing(policy.Config, packed, policy.Weights.Adapter);
    }

    /// <summary>Counts a micro-batch's share of the mini-batch's load-balance loss.</summary>
    public void AddRouterBalance(double share) => _routerBalance = (_routerBalance ?? 0) + share;

    /// <summary>Counts a mini-batch; without computed rows, batch and result are null.</summary>
    public void Add(MiniBatch miniBatch, ObjectiveBatch? batch, ObjectiveResult? result, UpdateResult updated)
    {
        var metrics = new Dictionary<string, double>(result?.Metrics ?? new Dictionary<string, double>(StringComparer.Ordinal), StringComparer.Ordinal);
        if (_routerBalance is { } balance) metrics["routerBalance"] = balance;
        _routerBalance = null;
        _totalTokens += miniBatch.Rows.Sum(row => (long)row.Length);
        _mismatch ??= RatioDiagnostics.MismatchOf(batch?.LogProbs ?? [], batch?.SamplerLogProbs ?? []);
        _miniBatches.Add(new MiniBatchReport
        {
            Objective = result?.Value ?? 0, GradientNorm = updated.GradientNorm, SkippedFor = updated.SkippedFor, Diagnostics = batch is null || result is null ? null : RatioDiagnostics.Of(batch, result.Weights),
            Metrics = metrics,
        });
        if (batch is null || result is null) return;
        _entropySum += batch.Entropies!.Sum();
        foreach (var (name, value) in metrics) _metrics[name] = _metrics.GetValueOrDefault(name) + value;
        _clipped += (result.Metrics.GetValueOrDefault("clipFractionLow") + result.Metrics.GetValueOrDefault("clipFractionHigh")) * batch.Totals.Tokens;
        for (var token = 0; token < batch.TokenCount; token++)
            if (batch.Advantages[token] != 0) (batch.Advantages[token] > 0 ? _positiveWeights : _negativeWeights).Add(result.Weights[token]);
    }

    /// <summary>The step's report.</summary>
    public StepReport Report(TrainingBatch batch, double learningRate, PolicyVersion version) => new()
    {
        Version = version,
        Objective = _miniBatches.Average(miniBatch => miniBatch.Objective),
        Entropy = _trainedTokens == 0 ? 0 : _entropySum / _trainedTokens,
        LearningRate = learningRate,
        Mismatch = _mismatch!,
        ClippedShare = _trainedTokens == 0 ? 0 : _clipped / _trainedTokens,
        GatePositive = Distribution.Of(_positiveWeights),
        GateNegative = Distribution.Of(_negativeWeights),
        MiniBatches = _miniBatches,
        ObjectiveMetrics = _metrics.ToDictionary(pair => pair.Key, pair => pair.Value / _miniBatches.Count, StringComparer.Ordinal),
        GroupsWithoutSignal = batch.GroupsWithoutSignal,
        Tokens = _totalTokens,
        TrainedTokens = _trainedTokens,
        SkippedTokens = _totalTokens - _trainedTokens,
        ComputedTokens = _computedTokens,
        Flops = _flops,
        FlopsSavedBySharing = _flopsWithoutSharing - _flops,
        Seconds = _seconds,
    };
}
