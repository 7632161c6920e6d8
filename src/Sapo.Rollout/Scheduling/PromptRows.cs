// Where prompts are computed before their completions start. A few rows beyond the slots each hold one prompt's keys and
// values. A group's prompt is computed into one of them, a piece at a time, and copied from there to each of the group's
// slots. The rows are kept until they are needed again: a prompt that begins like one of them copies the common part and
// computes the rest only.
using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Scheduling;

/// <summary>The rows prompts are computed in, with what each of them holds.</summary>
internal sealed class PromptRows
{
    private readonly Entry[] _entries;
    private long _clock;

    /// <param name="firstRow">The first of the rows.</param>
    /// <param name="count">How many, at least 2: one that is being filled and one to copy from.</param>
    public PromptRows(int firstRow, int count) => _entries = [.. Enumerable.Range(firstRow, count).Select(row => new Entry(row))];

    /// <summary>Forgets everything: another version's keys and values would be wrong.</summary>
    public void Clear()
    {
        foreach (var entry in _entries) (entry.Tokens, entry.Computed) = ([], 0);
    }

    /// <summary>Finds or begins a row for a prompt; what a kept row shares with it is there already.</summary>
    /// <param name="tokens">The tokens to hold.</param>
    /// <param name="session">Copies rows.</param>
    public Entry Begin(ReadOnlySpan<int> tokens, IDecodeSession session)
    {
        var (source, common) = LongestCommon(tokens);
        if (source is not null && common == tokens.Length)
        {
            source.LastUsed = ++_clock;
            return source;
        }
        var target = source is not null && common == source.Computed && source.Tokens.Length == common ? source : LeastRecentlyUsed(except: source);
        if (source is not null)
        {
            source.LastUsed = ++_clock;
            session.CopyRow(source.Row, target.Row, common);
        }
        (target.Tokens, target.Computed, target.LastUsed) = (tokens.ToArray(), common, ++_clock);
        return target;
    }

    private (Entry? Source, int Common) LongestCommon(ReadOnlySpan<int> tokens)
    {
        Entry? source = null;
        var best = 0;
        foreach (var entry in _entries)
        {
            var common = tokens.CommonPrefixLength(entry.Tokens.AsSpan(0, entry.Computed));
            if (common > best) (source, best) = (entry, common);
        }
        return (source, best);
    }

    private Entry LeastRecentlyUsed(Entry? except)
    {
        Entry? oldest = null;
        foreach (var entry in _entries)
            if (entry != except && (oldest is null || entry.LastUsed < oldest.LastUsed)) oldest = entry;
        return oldest!;
    }

    /// <summary>One row.</summary>
    internal sealed class Entry(int row)
    {
        /// <summary>Its number.</summary>
        public int Row { get; } = row;

        /// <summary>The tokens it is to hold.</summary>
        public int[] Tokens { get; set; } = [];

        /// <summary>How many of them are computed.</summary>
        public int Computed { get; set; }

        /// <summary>When it was last used.</summary>
        public long LastUsed { get; set; }

        /// <summary>Whether all are.</summary>
        public bool IsReady => Computed == Tokens.Length;
    }
}
