namespace Sapo.Core;

/// <summary>
/// A mistake that the user can mend: what was found, what was expected, what to do. The command line prints the
/// message alone and exits with code 2; it never shows a stack trace for this exception.
/// </summary>
public sealed class UserErrorException : Exception
{
    /// <summary>One message from its parts; every part is a full clause, without a closing full stop.</summary>
    /// <param name="found">What was found, beginning with the file, tensor or option concerned. The full stop of a system's own message is taken off.</param>
    /// <param name="expected">What was expected, or null where <paramref name="found"/> says it.</param>
    /// <param name="remedy">What to do.</param>
    /// <param name="inner">The cause, if another exception was.</param>
    public UserErrorException(string found, string? expected, string remedy, Exception? inner = null)
        : base(expected is null ? $"{found.TrimEnd('.')}. {remedy}." : $"{found.TrimEnd('.')}; expected {expected}. {remedy}.", inner) => Found = found;

    /// <summary>What was found, for one who knows a better remedy.</summary>
    public string Found { get; }
}
