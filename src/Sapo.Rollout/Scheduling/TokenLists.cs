namespace Sapo.Rollout.Scheduling;

/// <summary>A list per token, all in one array that serves one completion after another: a list costs no allocation once it has grown.</summary>
internal sealed class TokenLists<T>
{
    private T[] _values = [];
    private int[] _ends = new int[64];

    /// <summary>Number of lists.</summary>
    public int Count { get; private set; }

    /// <summary>Adds a list.</summary>
    /// <returns>Its elements, for the caller to fill in at once.</returns>
    public Span<T> Add(int length)
    {
        var start = Count == 0 ? 0 : _ends[Count - 1];
        if (start + length > _values.Length) Array.Resize(ref _values, Math.Max(start + length, 2 * _values.Length));
        if (Count == _ends.Length) Array.Resize(ref _ends, 2 * Count);
        _ends[Count++] = start + length;
        return _values.AsSpan(start, length);
    }

    /// <summary>One of the lists, in an array of its own.</summary>
    public T[] Copy(int index) => _values[(index == 0 ? 0 : _ends[index - 1]).._ends[index]];

    /// <summary>All of them, in arrays of their own.</summary>
    public T[][] CopyAll() => [.. Enumerable.Range(0, Count).Select(Copy)];

    /// <summary>Begins again.</summary>
    public void Clear() => Count = 0;
}
