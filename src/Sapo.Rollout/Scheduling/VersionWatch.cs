namespace Sapo.Rollout.Scheduling;

/// <summary>Compares the first completions of each version with the last ones of the version before it. For the scheduler's thread alone.</summary>
internal sealed class VersionWatch
{
    /// <summary>Completions of each version that are compared.</summary>
    public const int Window = 32;

    private readonly Queue<Sums> _previous = new();
    private readonly Queue<Sums> _current = new();
    private PolicyVersion _version;
    private PolicyVersion? _previousVersion;

    /// <summary>The last comparison, or null before there is one.</summary>
    public VersionComparison? Comparison { get; private set; }

    /// <summary>Takes in a finished completion. One that several versions sampled, or an older version, says nothing and is left out.</summary>
    public void Add(Completion completion)
    {
        if (completion.VersionSpans is not [var span] || span.Version < _version) return;
        if (span.Version > _version && _current.Count > 0) Begin(span.Version);
        _version = span.Version;
        if (_current.Count == Window) _current.Dequeue();
        _current.Enqueue(new Sums(completion.TokenIds.Length, completion.UntruncatedLogProbs.Sum(logProb => (double)logProb), completion.FinishReason == FinishReason.Length));
        if (_previousVersion is { } previous && _current.Count == Window && Comparison?.Version != _version)
            Comparison = new VersionComparison(_version, previous, Window, MeanLogProb(_current), MeanLogProb(_previous), TruncatedShare(_current), TruncatedShare(_previous));
    }

    private static double MeanLogProb(Queue<Sums> window) => window.Sum(sums => sums.LogProbs) / window.Sum(sums => sums.Tokens);

    private static double TruncatedShare(Queue<Sums> window) => window.Count(sums => sums.IsTruncated) / (double)window.Count;

    private void Begin(PolicyVersion version)
    {
        _previous.Clear();
        while (_current.TryDequeue(out var sums)) _previous.Enqueue(sums);
        (_previousVersion, _version) = (_version, version);
    }

    private readonly record struct Sums(int Tokens, double LogProbs, bool IsTruncated);
}
