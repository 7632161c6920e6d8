using Sapo.Learner;
using Sapo.Rollout;

namespace Sapo.Hybrid.Memory;

/// <summary>A part of the memory that a run needs at its peak.</summary>
/// <param name="Name">What holds it.</param>
/// <param name="Bytes">How much.</param>
public sealed record MemoryPart(string Name, long Bytes);

/// <summary>
/// The physical memory a run needs at its peak, by part: either while a step is learned, beside one version in the engine, or while
/// versions are switched, when two are loaded but no step is under way.
/// </summary>
/// <param name="Parts">What is held at that time.</param>
public sealed record MemoryPlan(IReadOnlyList<MemoryPart> Parts)
{
    /// <summary>
    /// The program, the .NET runtime, both engines' libraries and their small buffers, as measured with a model of next to no size:
    /// 245 to 260 MiB.
    /// </summary>
    public const long ProgramBytes = 256L << 20;

    private const double Gibi = 1 << 30, Mebi = 1 << 20;

    /// <summary>All parts together.</summary>
    public long TotalBytes => Parts.Sum(part => part.Bytes);

    /// <summary>Of a learner alone.</summary>
    public static MemoryPlan Of(LearnerFootprint learner, long programBytes = ProgramBytes) => new(Used([Program(programBytes), .. Lasting(learner), .. Step(learner)]));

    /// <summary>Of a learner and the engine that samples for it.</summary>
    public static MemoryPlan Of(LearnerFootprint learner, EngineFootprint engine)
    {
        var (keyValues, version) = (new MemoryPart("keys and values", engine.KeyValueBytes), new MemoryPart("engine's version", engine.VersionBytes));
        MemoryPlan learning = new(Used([Program(ProgramBytes), .. Lasting(learner), .. Step(learner), version, keyValues]));
        MemoryPlan switching = new(Used([Program(ProgramBytes), .. Lasting(learner), version, version with { Name = "engine's next version" }, keyValues]));
        return learning.TotalBytes > switching.TotalBytes ? learning : switching;
    }

    /// <summary>The total and the parts, the largest first.</summary>
    public override string ToString() => $"{Size(TotalBytes)} ({string.Join(", ", Parts.OrderByDescending(part => part.Bytes).Select(part => $"{part.Name} {Size(part.Bytes)}"))})";

    /// <summary>Bytes for people.</summary>
    public static string Size(long bytes) => bytes >= Gibi ? $"{bytes / Gibi:0.0} GiB" : $"{bytes / Mebi:0} MiB";

    private static MemoryPart Program(long bytes) => new("program", bytes);

    private static IEnumerable<MemoryPart> Lasting(LearnerFootprint learner) =>
        [new("weights", learner.WeightBytes), new("gradients", learner.GradientBytes), new("moments", learner.MomentBytes), new("copies of the policy", learner.CopyBytes)];

    private static IEnumerable<MemoryPart> Step(LearnerFootprint learner) =>
        [new("activations", learner.ActivationBytes), learner.HeadBytes > learner.WorkBytes ? new("head", learner.HeadBytes) : new("backward pass", learner.WorkBytes)];

    private static MemoryPart[] Used(IEnumerable<MemoryPart> parts) => [.. parts.Where(part => part.Bytes > 0)];
}
