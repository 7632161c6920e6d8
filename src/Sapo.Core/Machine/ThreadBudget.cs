namespace Sapo.Core.Machine;

/// <summary>
/// How the cores are divided. In synchronous training engine and learner take turns, so each may use every core. Where
/// they overlap, threads beyond the cores would only wait for each other, so the cores are divided.
/// </summary>
/// <param name="TotalCores">The cores this process may use, at least 1.</param>
/// <param name="EngineThreads">Threads of the inference engine's pool, at least 1.</param>
/// <param name="LearnerThreads">Threads of libtorch and of its BLAS, at least 1.</param>
public sealed record ThreadBudget(int TotalCores, int EngineThreads, int LearnerThreads)
{
    /// <summary>
    /// The budget on this machine. <see cref="Environment.ProcessorCount"/> counts the cores left by affinity masks and
    /// container limits, not those of the board.
    /// </summary>
    /// <param name="overlapped">True where engine and learner work at the same time.</param>
    public static ThreadBudget ForMachine(bool overlapped) => Divide(Environment.ProcessorCount, overlapped);

    /// <summary>
    /// Divides a number of cores. Overlapped, the learner gets the odd one: a token costs it about three forward passes
    /// (forward, and the two products of the backward pass) where the engine does one. With a single core both get 1.
    /// </summary>
    /// <param name="totalCores">Cores to divide, at least 1.</param>
    /// <param name="overlapped">True where engine and learner work at the same time.</param>
    /// <exception cref="ArgumentOutOfRangeException">No core.</exception>
    public static ThreadBudget Divide(int totalCores, bool overlapped)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(totalCores, 1);
        if (!overlapped) return new ThreadBudget(totalCores, totalCores, totalCores);
        var engineThreads = Math.Max(1, totalCores / 2);
        return new ThreadBudget(totalCores, engineThreads, Math.Max(1, totalCores - engineThreads));
    }
}
