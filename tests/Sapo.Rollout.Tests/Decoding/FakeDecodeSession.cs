using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Tests.Decoding;

/// <summary>The fake's keys and values: per row which token was computed at which position, and by which version.</summary>
internal sealed class FakeCache(int rows)
{
    public List<(int Token, PolicyVersion Version)>[] Rows { get; } = [.. Enumerable.Range(0, rows).Select(_ => new List<(int, PolicyVersion)>())];
}

/// <summary>
/// A toy model: the logits after a sequence are hashes of it and of the version. It fails where a row does not hold the
/// positions before the one it computes, or not what it is said to share with another, and remembers whether it ever read what
/// another version computed.
/// </summary>
internal sealed class FakeDecodeSession(PolicyVersion version, FakeCache cache, RowBuffers rows, int vocabSize) : IDecodeSession
{
    public PolicyVersion Version => version;

    public int MinimumRows { get; init; } = 1;

    public bool StartsRowsTogether { get; init; }

    public long PrefilledTokens { get; private set; }

    public bool IsDisposed { get; private set; }

    public bool ReadAnotherVersion { get; private set; }

    public int DecodedRows { get; private set; }

    public List<(int Row, int Count, int Position)> Prefills { get; } = [];

    public List<int> RowCounts { get; } = [];

    /// <summary>Positions that rows could read in another row's place, over all steps.</summary>
    public int SharedPositions { get; private set; }

    /// <summary>Called before each decode step.</summary>
    public Action? BeforeDecode { get; set; }

    /// <summary>Tokens after which the log-prob is NaN.</summary>
    public Func<int, bool> IsPoison { get; set; } = _ => false;

    public void Prefill(int row, ReadOnlySpan<int> tokenIds, int position)
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        Assert.False(tokenIds.IsEmpty);
        PrefilledTokens += tokenIds.Length;
        Prefills.Add((row, tokenIds.Length, position));
        foreach (var id in tokenIds) Put(row, position++, id);
    }

    public void CopyRow(int from, int to, int length)
    {
        var source = cache.Rows[from].Take(length).ToArray();
        Assert.Equal(length, source.Length);
        cache.Rows[to].Clear();
        cache.Rows[to].AddRange(source);
    }

    public void Decode(int firstRow, int rowCount, bool truncate)
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        BeforeDecode?.Invoke();
        Assert.True(rowCount >= MinimumRows);
        DecodedRows += rowCount;
        RowCounts.Add(rowCount);
        for (var row = firstRow; row < firstRow + rowCount; row++) CheckSharing(row, firstRow, rowCount);
        for (var row = firstRow; row < firstRow + rowCount; row++)
        {
            if (rows.InputIds.Span[row] == RowBuffers.IdleRow)
            {
                Assert.True(StartsRowsTogether || rowCount == MinimumRows);
                continue;
            }
            Put(row, rows.Lengths.Span[row], (int)rows.InputIds.Span[row]);
            Sample(row, truncate);
        }
    }

    public void Dispose() => IsDisposed = true;

    private void Put(int row, int position, int token)
    {
        var held = cache.Rows[row];
        Assert.True(position <= held.Count, $"row {row} holds {held.Count} positions, position {position} was computed");
        held.RemoveRange(position, held.Count - position);
        ReadAnotherVersion |= held.Any(entry => entry.Version != version);
        held.Add((token, version));
    }

    private void CheckSharing(int row, int firstRow, int rowCount)
    {
        var source = row + rows.SharedWith.Span[row];
        if (source == row) return;
        Assert.InRange(source, firstRow, firstRow + rowCount - 1);
        var length = rows.SharedLengths.Span[row];
        Assert.Equal(length, cache.Rows[row].Take(length).Count());
        Assert.Equal(cache.Rows[row].Take(length), cache.Rows[source].Take(length));
        SharedPositions += length;
    }

    private void Sample(int row, bool truncate)
    {
        var temperature = rows.Temperatures.Span[row];
        var scaled = Logits(row).Select(logit => logit / (temperature == 0 ? 1 : temperature)).ToArray();
        var untruncated = LogSoftmax(scaled);
        var kept = Enumerable.Range(0, vocabSize).ToArray();
        if (truncate && rows.TopKs.Span[row] > 0) kept = [.. kept.OrderByDescending(id => scaled[id]).Take((int)rows.TopKs.Span[row]).Order()];
        var logProbs = LogSoftmax([.. kept.Select(id => scaled[id])]);
        var at = (int)rows.ForcedTokens.Span[row] >= 0
            ? Array.IndexOf(kept, (int)rows.ForcedTokens.Span[row])
            : temperature == 0 ? Array.IndexOf(logProbs, logProbs.Max()) : Draw(logProbs, rows.Uniforms.Span[row]);
        rows.SampledTokens.Span[row] = kept[at];
        rows.SampledLogProbs.Span[row] = IsPoison((int)rows.InputIds.Span[row]) ? float.NaN : temperature == 0 ? 0 : (float)logProbs[at];
        rows.UntruncatedLogProbs.Span[row] = (float)untruncated[kept[at]];
        if (!truncate) return;
        rows.KeptCounts.Span[row] = kept.Length;
        for (var i = 0; i < Math.Min(kept.Length, rows.KeptWidth); i++) rows.KeptIds.Span[row * rows.KeptWidth + i] = kept[i];
    }

    private double[] Logits(int row)
    {
        var hash = version.Value;
        foreach (var (token, by) in cache.Rows[row]) hash = CounterRandom.Word(hash, token, 0, (int)by.Value);
        return [.. Enumerable.Range(0, vocabSize).Select(id => 4 * CounterRandom.Uniform(hash, id, 1, 0))];
    }

    private static int Draw(double[] logProbs, float uniform)
    {
        double sum = 0;
        for (var i = 0; i < logProbs.Length; i++)
            if ((sum += Math.Exp(logProbs[i])) > uniform) return i;
        return logProbs.Length - 1;
    }

    private static double[] LogSoftmax(double[] logits)
    {
        var sum = Math.Log(logits.Sum(Math.Exp));
        return [.. logits.Select(logit => logit - sum)];
    }
}
