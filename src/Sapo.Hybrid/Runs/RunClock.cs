namespace Sapo.Hybrid.Runs;

/// <summary>A run's own time: what earlier parts of an interrupted run took, and the time since this one began.</summary>
/// <param name="time">The clock.</param>
/// <param name="earlierSeconds">Seconds of the run before it was interrupted.</param>
internal sealed class RunClock(TimeProvider time, double earlierSeconds)
{
    private readonly long _started = time.GetTimestamp();

    /// <summary>Seconds.</summary>
    public double ElapsedSeconds => earlierSeconds + time.GetElapsedTime(_started).TotalSeconds;
}
