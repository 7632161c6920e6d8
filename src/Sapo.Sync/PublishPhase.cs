using Sapo.Core;

namespace Sapo.Sync;

/// <summary>Runs the phases of one publish, each under its name and its deadline, so that every failure says where it happened.</summary>
internal sealed class PublishPhase(PolicyVersion version, TimeSpan deadline, TimeProvider time, CancellationToken cancel)
{
    /// <summary>Model.safetensors is written and flushed: nearly all of the time.</summary>
    public const string Weights = "weights";

    /// <summary>Weights are written at the engine's precision, where that is below 32 bits.</summary>
    public const string Precision = "precision";

    /// <summary>Constant files are linked or written.</summary>
    public const string Links = "links";

    /// <summary>The manifest is written and the folder gets its name.</summary>
    public const string Manifest = "manifest";

    /// <summary>Runs one phase. A deadline that passes after the work is done is no failure.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="work">What it does; looks at the token between its pieces.</param>
    /// <exception cref="TimeoutException">The deadline passed.</exception>
    /// <exception cref="UserErrorException">A file could not be written.</exception>
    /// <exception cref="OperationCanceledException">The caller cancelled.</exception>
    public T Run<T>(string name, Func<CancellationToken, T> work)
    {
        using var timer = new CancellationTokenSource(deadline, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel, timer.Token);
        try
        {
            return work(either.Token);
        }
        catch (OperationCanceledException late) when (timer.IsCancellationRequested && !cancel.IsCancellationRequested)
        {
            throw new TimeoutException($"Publishing {version} did not finish its phase '{name}' within {deadline}; older versions are untouched.", late);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException(
                $"Publishing {version} failed in its phase '{name}': {failure.Message}", "a disk that can be written", "Free some space or check the disk; older versions are untouched", failure);
        }
    }
}
