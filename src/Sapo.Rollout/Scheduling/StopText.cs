namespace Sapo.Rollout.Scheduling;

/// <summary>Watches one completion's text for stop strings as its tokens come in.</summary>
/// <param name="decode">Gives the text that each next token adds; bytes of a character not yet complete are held back by it.</param>
/// <param name="stopStrings">What to look for, at least one.</param>
internal sealed class StopText(Func<int, string> decode, IReadOnlyList<string> stopStrings)
{
    private readonly int _keep = stopStrings.Max(text => text.Length) - 1;
    private string _tail = "";

    /// <summary>Takes in a token.</summary>
    /// <returns>True when a stop string is now in the text.</returns>
    public bool Append(int tokenId)
    {
        var added = decode(tokenId);
        if (added.Length == 0) return false;
        _tail += added;
        foreach (var stop in stopStrings)
            if (_tail.Contains(stop, StringComparison.Ordinal)) return true;
        if (_tail.Length > _keep) _tail = _tail[^_keep..]; // what could still become the beginning of a stop string
        return false;
    }
}
