// The model part of tokenizer.json ("BPE"): a word's characters -> ids by applying the merges, best rank first.
//
// A word starts as a linked list of symbols, one per character. Every neighbouring pair that has a merge waits in a
// priority queue, ordered by rank and then by position; taking one joins two symbols and offers the two new pairs.
// So a word of n characters costs O(n log n), however long it is.
using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text;

namespace Sapo.Rollout.Tokenization;

/// <summary>Byte-pair encoding over a vocabulary and its merges. Safe for use by many threads.</summary>
internal sealed class BytePairEncoding
{
    private const int LongestCachedWord = 64;
    private const int MostCachedWords = 1 << 16;

    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _vocabularyBySpan;
    private readonly Dictionary<long, (int Rank, int Id)> _merges;
    private readonly int? _unknownId;
    private readonly bool _fuseUnknown;
    private readonly bool _ignoreMerges;
    private readonly int[]? _byteFallbackIds;
    private readonly ConcurrentDictionary<string, int[]> _cache = new(StringComparer.Ordinal);
    private int _cachedWords;

    private BytePairEncoding(Dictionary<string, int> vocabulary, Dictionary<long, (int Rank, int Id)> merges, JsonValue model)
    {
        _vocabulary = vocabulary;
        _merges = merges;
        _vocabularyBySpan = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        _fuseUnknown = model.Bool("fuse_unk");
        _ignoreMerges = model.Bool("ignore_merges");
        if (model.Find("unk_token") is { } unknown)
        {
            if (!vocabulary.TryGetValue(unknown.AsString(), out var id)) throw unknown.Error($"{unknown.AsString()} is not in the vocabulary", "a token of the vocabulary");
            _unknownId = id;
        }
        if (model.Bool("byte_fallback"))
            _byteFallbackIds = [.. Enumerable.Range(0, 256).Select(value => vocabulary.GetValueOrDefault($"<0x{value:X2}>", -1))];
    }

    /// <summary>Token texts and their ids, as the file spells them.</summary>
    public IReadOnlyDictionary<string, int> Vocabulary => _vocabulary;

    /// <summary>Reads <c>model</c> of tokenizer.json.</summary>
    public static BytePairEncoding Read(JsonValue model)
    {
        // Files of the first generation have no "type"; what they hold is told by their members.
        var type = model.String("type") ?? (model.Find("merges") is null ? "without merges" : "BPE");
        if (type != "BPE") throw model.Unsupported($"a model of type {type}", "BPE");
        if (model.Find("dropout") is { } dropout && dropout.Element.GetDouble() != 0) throw dropout.Unsupported("merge dropout", "none: it would make encodings random");
        foreach (var affix in new[] { "continuing_subword_prefix", "end_of_word_suffix" })
            if (model.String(affix) is { Length: > 0 } text) throw model.Unsupported($"{affix} \"{text}\"", "none");

        var idOfToken = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var (token, id) in model.Member("vocab").Members()) idOfToken[token] = id.AsCount();
        var mergeOfPair = new Dictionary<long, (int Rank, int Id)>();
        var rank = 0;
        foreach (var merge in model.Member("merges").Items())
        {
            var (left, right) = MergePair(merge);
            mergeOfPair[Pair(IdOf(left), IdOf(right))] = (rank++, IdOf(left + right));

            int IdOf(string token) => idOfToken.TryGetValue(token, out var id) ? id : throw merge.Error($"\"{token}\" is not in the vocabulary", "both halves and their joined text to be tokens");
        }
        return new BytePairEncoding(idOfToken, mergeOfPair, model);
    }

    /// <summary>
    /// Appends a word's ids. A character that has neither a token nor a byte fallback becomes the unknown token; where the
    /// file has none it is left out.
    /// </summary>
    /// <param name="word">The word as the pre-tokenizer hands it over.</param>
    /// <param name="ids">Receives the ids.</param>
    /// <returns>The first character that was left out, or null.</returns>
    public Rune? Encode(string word, List<int> ids)
    {
        if (word.Length == 0) return null;
        if (_cache.TryGetValue(word, out var known))
        {
            ids.AddRange(known);
            return null;
        }
        if (_ignoreMerges && _vocabulary.TryGetValue(word, out var whole))
        {
            ids.Add(whole);
            return null;
        }
        var symbols = FirstSymbols(word, out var leftOut);
        var before = ids.Count;
        ApplyMerges(CollectionsMarshal.AsSpan(symbols), ids);
        if (leftOut is null && word.Length <= LongestCachedWord && Volatile.Read(ref _cachedWords) < MostCachedWords && _cache.TryAdd(word, [.. ids.Skip(before)]))
            Interlocked.Increment(ref _cachedWords);
        return leftOut;
    }

    private static (string Left, string Right) MergePair(JsonValue merge)
    {
        string[] halves = merge.Element.ValueKind == System.Text.Json.JsonValueKind.Array
            ? [.. merge.Items().Select(half => half.AsString())]
            : merge.AsString().Split(' ');
        return halves.Length == 2 ? (halves[0], halves[1]) : throw merge.Error("the merge has not two halves", "\"left right\" or [\"left\", \"right\"]");
    }

    /// <summary>One id per character, before any merge.</summary>
    private List<int> FirstSymbols(string word, out Rune? leftOut)
    {
        leftOut = null;
        var symbols = new List<int>(word.Length);
        var unknownRun = false;
        for (var at = 0; at < word.Length;)
        {
            Rune.DecodeFromUtf16(word.AsSpan(at), out var rune, out var length);
            if (_vocabularyBySpan.TryGetValue(word.AsSpan(at, length), out var id))
            {
                symbols.Add(id);
                unknownRun = false;
            }
            else if (!AddBytes(rune, symbols))
            {
                if (_unknownId is { } unknown)
                {
                    if (!unknownRun || !_fuseUnknown) symbols.Add(unknown);
                    unknownRun = true;
                }
                else
                {
                    leftOut ??= rune;
                }
            }
            else
            {
                unknownRun = false;
            }
            at += length;
        }
        return symbols;
    }

    private bool AddBytes(Rune rune, List<int> symbols)
    {
        if (_byteFallbackIds is null) return false;
        Span<byte> bytes = stackalloc byte[4];
        bytes = bytes[..rune.EncodeToUtf8(bytes)];
        foreach (var value in bytes)
            if (_byteFallbackIds[value] < 0) return false;
        foreach (var value in bytes) symbols.Add(_byteFallbackIds[value]);
        return true;
    }

    private void ApplyMerges(Span<int> symbols, List<int> ids)
    {
        // next[i] and previous[i] are the neighbours of symbol i; a symbol that was joined to its left neighbour has id -1.
        var next = new int[symbols.Length];
        var previous = new int[symbols.Length];
        var waiting = new PriorityQueue<(int Position, int Id), long>();
        for (var i = 0; i < symbols.Length; i++)
        {
            previous[i] = i - 1;
            next[i] = i + 1 < symbols.Length ? i + 1 : -1;
        }
        for (var i = 0; i + 1 < symbols.Length; i++) Offer(symbols, i);

        while (waiting.TryDequeue(out var merge, out _))
        {
            var left = merge.Position;
            var right = symbols[left] < 0 ? -1 : next[left];
            // The pair may have changed since it was offered.
            if (right < 0 || !_merges.TryGetValue(Pair(symbols[left], symbols[right]), out var current) || current.Id != merge.Id) continue;
            symbols[left] = merge.Id;
            symbols[right] = -1;
            next[left] = next[right];
            if (next[right] >= 0) previous[next[right]] = left;
            if (previous[left] >= 0) Offer(symbols, previous[left]);
            if (next[left] >= 0) Offer(symbols, left);
        }
        foreach (var id in symbols)
            if (id >= 0) ids.Add(id);

        void Offer(Span<int> of, int left)
        {
            if (_merges.TryGetValue(Pair(of[left], of[next[left]]), out var merge))
                waiting.Enqueue((left, merge.Id), ((long)merge.Rank << 32) | (uint)left);
        }
    }

    private static long Pair(int left, int right) => ((long)left << 32) | (uint)right;
}
