namespace Sapo.Rollout;

/// <summary>The engine stopped: its thread met a failure that is no mistake of a request. All requests fail with it, and so does every later one.</summary>
public sealed class RolloutException : Exception
{
    /// <summary>What happened and where, with the cause if there is one.</summary>
    public RolloutException(string message, Exception? cause = null)
        : base(message, cause)
    {
    }
}
