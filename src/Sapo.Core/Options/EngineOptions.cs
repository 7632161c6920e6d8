namespace Sapo.Core.Options;

/// <summary>The rollout engine: section <c>engine</c> of a run file.</summary>
public sealed record EngineOptions
{
    /// <summary>Sequences decoded at once, at least 1. Default 64.</summary>
    public int Slots { get; init; } = 64;

    /// <summary>Longest prompt and completion together, in tokens; null takes the model's own limit. Sizes the KV buffers.</summary>
    public int? MaxSequenceLength { get; init; }

    /// <summary>What happens to running completions at a swap: <c>drain</c> (they finish on the old version) or <c>inFlight</c> (they go on under the new one). Default drain.</summary>
    public string Swap { get; init; } = "drain";

    /// <summary>Checks every value once, at the edge.</summary>
    /// <exception cref="UserErrorException">A value is out of its range.</exception>
    public EngineOptions Validated()
    {
        if (Slots < 1) throw new UserErrorException($"engine.slots is {Slots}", "at least 1", "Correct the run file or the command line");
        if (MaxSequenceLength is < 2) throw new UserErrorException($"engine.maxSequenceLength is {MaxSequenceLength}", "at least 2", "Correct the run file or the command line");
        if (Swap is not ("drain" or "inFlight")) throw new UserErrorException($"engine.swap is {Swap}", "drain or inFlight", "Correct the run file");
        return this;
    }
}
