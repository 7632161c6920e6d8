using System.Runtime.InteropServices;

namespace Sapo.Rollout.Scheduling;

/// <summary>A completion in progress. Its buffers serve one completion after another, so a token costs no allocation once they have grown.</summary>
internal sealed class RunningSample
{
    private readonly List<VersionSpan> _spans = [];
    private readonly TokenLists<int> _kept = new();
    private readonly TokenLists<int> _alternativeIds = new();
    private readonly TokenLists<float> _alternativeLogProbs = new();
    private int[] _tokens = new int[64];
    private float[] _logProbs = new float[64], _untruncated = new float[64];
    private bool _keptIsComplete;
    private StopText? _stopText;

    /// <summary>The group it belongs to.</summary>
    public GroupTask Group { get; private set; } = null!;

    /// <summary>Who holds the same prompt.</summary>
    public PromptCopies Copies { get; private set; } = null!;

    /// <summary>Its sample index.</summary>
    public int SampleIndex { get; private set; }

    /// <summary>Tokens sampled so far.</summary>
    public int Count { get; private set; }

    /// <summary>Position of the token to feed next: the keys and values of all before it are computed.</summary>
    public int Position => Group.Request.Prompt.TokenIds.Length - 1 + Count;

    /// <summary>The token to feed next.</summary>
    public int NextInput => Count == 0 ? Group.Request.Prompt.TokenIds[^1] : _tokens[Count - 1];

    /// <summary>The uniform number that decides the next token.</summary>
    public float NextUniform => CounterRandom.Uniform(Group.Request.Sampling.Seed, Group.Request.Prompt.Id, SampleIndex, Count);

    private bool UntruncatedDiffers => Group.Request.Sampling.Truncates || Group.Request.Sampling.Temperature == 0;

    /// <summary>Begins a completion.</summary>
    /// <param name="group">Its group.</param>
    /// <param name="sampleIndex">Its index.</param>
    /// <param name="stopText">Watches for stop strings, or null.</param>
    public void Start(GroupTask group, int sampleIndex, StopText? stopText)
    {
        (Group, SampleIndex, Count, _stopText) = (group, sampleIndex, 0, stopText);
        Copies = group.Copies ??= new PromptCopies(group.SharedTokens.Length);
        _spans.Clear();
        _kept.Clear();
        _alternativeIds.Clear();
        _alternativeLogProbs.Clear();
        _keptIsComplete = group.Request.Sampling.Truncates;
    }

    /// <summary>Appends a sampled token, after what belongs to it: its kept set, its alternatives.</summary>
    /// <param name="tokenId">The token.</param>
    /// <param name="logProb">In the distribution drawn from.</param>
    /// <param name="untruncated">Before truncation.</param>
    /// <param name="version">The version that sampled it.</param>
    /// <returns>Why the completion ends with it, or null.</returns>
    public FinishReason? Append(int tokenId, float logProb, float untruncated, PolicyVersion version)
    {
        if (Count == _tokens.Length) Grow();
        (_tokens[Count], _logProbs[Count], _untruncated[Count]) = (tokenId, logProb, untruncated);
        Count++;
        if (_spans.Count > 0 && _spans[^1].Version == version) _spans[^1] = _spans[^1] with { Count = _spans[^1].Count + 1 };
        else _spans.Add(new VersionSpan(Count - 1, 1, version));
        Group.Request.TokenSampled?.Invoke(new SampledToken(SampleIndex, Count - 1, tokenId, logProb, UntruncatedDiffers ? untruncated : logProb, AlternativesAt(Count - 1)));
        if (Array.IndexOf(Group.StopTokenIds, tokenId) >= 0) return FinishReason.Stop;
        if (_stopText is not null && _stopText.Append(tokenId)) return FinishReason.StopString;
        return Count == Group.MaxNewTokens ? FinishReason.Length : null;
    }

    /// <summary>Adds the kept set of the token to be appended; a set larger than what was listed leaves the completion without kept ids.</summary>
    public void AppendKept(ReadOnlySpan<long> listed, long count)
    {
        if (!_keptIsComplete) return;
        if (count > listed.Length)
        {
            _keptIsComplete = false;
            _kept.Clear();
            return;
        }
        CopyIds(listed, _kept);
    }

    /// <summary>Adds the alternatives of the token to be appended.</summary>
    public void AppendAlternatives(ReadOnlySpan<long> ids, ReadOnlySpan<float> logProbs)
    {
        CopyIds(ids, _alternativeIds);
        logProbs.CopyTo(_alternativeLogProbs.Add(logProbs.Length));
    }

    /// <summary>Copies prompt and sampled tokens up to, not including, the one to feed next.</summary>
    public int[] FedTokens()
    {
        var prompt = Group.Request.Prompt.TokenIds;
        var fed = new int[Position];
        prompt.AsSpan(0, Math.Min(prompt.Length, fed.Length)).CopyTo(fed);
        if (Count > 1) _tokens.AsSpan(0, Count - 1).CopyTo(fed.AsSpan(prompt.Length));
        return fed;
    }

    /// <summary>The finished completion, in arrays of its own.</summary>
    public Completion ToCompletion(FinishReason reason)
    {
        var logProbs = _logProbs.AsSpan(0, Count).ToArray();
        return new Completion
        {
            SampleIndex = SampleIndex,
            TokenIds = _tokens.AsSpan(0, Count).ToArray(),
            BehaviourLogProbs = logProbs,
            UntruncatedLogProbs = UntruncatedDiffers ? _untruncated.AsSpan(0, Count).ToArray() : logProbs,
            KeptTokenIds = _keptIsComplete ? _kept.CopyAll() : null,
            Alternatives = _alternativeIds.Count == 0 ? null : [.. Enumerable.Range(0, Count).Select(index => AlternativesAt(index)!)],
            FinishReason = reason,
            VersionSpans = CollectionsMarshal.AsSpan(_spans).ToArray(),
        };
    }

    private static void CopyIds(ReadOnlySpan<long> ids, TokenLists<int> to)
    {
        var copy = to.Add(ids.Length);
        for (var i = 0; i < ids.Length; i++) copy[i] = (int)ids[i];
    }

    private TokenAlternatives? AlternativesAt(int index) =>
        _alternativeIds.Count == 0 ? null : new TokenAlternatives(_alternativeIds.Copy(index), _alternativeLogProbs.Copy(index));

    private void Grow()
    {
        Array.Resize(ref _tokens, 2 * Count);
        Array.Resize(ref _logProbs, 2 * Count);
        Array.Resize(ref _untruncated, 2 * Count);
    }
}
