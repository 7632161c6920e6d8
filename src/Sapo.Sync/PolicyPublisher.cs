// Weights in, published folder out, one version after the other:
//   learner's snapshot (borrowed) -> [weights] model.safetensors, written and flushed
//                                 -> [precision] weights.<precision>.safetensors, where the engine's precision is below 32 bits
//                                 -> [links]   graphs, config, tokenizer: hard links to the version before
//                                 -> [manifest] sizes, hashes, probe; then the folder gets its name
// A failure in any phase removes the unfinished folder and leaves all older versions as they are. A killed process
// leaves an unfinished folder that the next publisher on the same place removes or completes.
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;

namespace Sapo.Sync;

/// <summary>Publishes the policy versions of one run into one folder. Holds a lock on that folder until it is disposed.</summary>
public sealed class PolicyPublisher : IDisposable
{
    /// <summary>The file in the policies folder that a publisher holds open, so that there is one at a time.</summary>
    public const string LockFile = "publisher.lock";

    /// <summary>How long each phase of a publish may take unless the constructor is told otherwise.</summary>
    public static readonly TimeSpan DefaultPhaseDeadline = TimeSpan.FromMinutes(10);

    private readonly string _policiesFolder, _modelFolder;
    private readonly TimeProvider _time;
    private readonly int? _maxSequenceLength;
    private readonly TimeSpan _phaseDeadline;
    private readonly Disk _disk;
    private readonly FileStream _lock;
    private readonly ReducedLayout? _reduced;
    private readonly SnapshotLayout _layout;
    private IReadOnlyList<ModelFile>? _constantFiles;
    private PublishedPolicy? _latest;
    private int _publishing;

    /// <summary>Takes a run's policies folder and clears away what a killed publish left there.</summary>
    /// <param name="policiesFolder">Holds one folder per version; made if it does not exist.</param>
    /// <param name="modelFolder">The Hugging Face folder whose configuration and tokenizer every version carries.</param>
    /// <param name="time">The clock of the deadlines.</param>
    /// <param name="maxSequenceLength">Longest sequence that engines will run, or null for the model's own limit: bounds the tables in the graphs.</param>
    /// <param name="phaseDeadline">How long each phase of a publish may take; null takes <see cref="DefaultPhaseDeadline"/>.</param>
    /// <param name="precision">What the engine reads weights in: every version is written in it too.</param>
    /// <exception cref="UserErrorException">Another publisher has the folder, it cannot be written, or the model's configuration or the precision is not supported.</exception>
    public PolicyPublisher(
        string policiesFolder, string modelFolder, TimeProvider time, int? maxSequenceLength = null, TimeSpan? phaseDeadline = null, Precision precision = Precision.Fp32)
        : this(policiesFolder, modelFolder, time, maxSequenceLength, phaseDeadline, precision, new Disk())
    {
    }

    internal PolicyPublisher(string policiesFolder, string modelFolder, TimeProvider time, int? maxSequenceLength, TimeSpan? phaseDeadline, Precision precision, Disk disk)
    {
        (_policiesFolder, _modelFolder, _time) = (Path.GetFullPath(policiesFolder), modelFolder, time);
        (_maxSequenceLength, _phaseDeadline, _disk) = (maxSequenceLength, phaseDeadline ?? DefaultPhaseDeadline, disk);
        _layout = new SnapshotLayout(ModelConfigReader.Read(modelFolder));
        _reduced = precision == Precision.Fp32 ? null : new ReducedLayout(_layout.Config, precision);
        _lock = TakeLock(_policiesFolder);
        try
        {
            PolicyFolderWriter.Recover(_policiesFolder);
        }
        catch
        {
            _lock.Dispose();
            throw;
        }
    }

    /// <summary>What writing the last version at the engine's precision took, in seconds; 0 in 32 bits.</summary>
    public double PrecisionSeconds { get; private set; }

    /// <summary>Publishes one version. A version of the same number that is already there is replaced.</summary>
    /// <param name="snapshot">The weights; read until the returned task has ended.</param>
    /// <param name="cancel">Stops between two pieces; nothing of the version is left.</param>
    /// <returns>The published folder.</returns>
    /// <exception cref="UserErrorException">A weight is not finite, the snapshot is not this model's, or the disk is full.</exception>
    /// <exception cref="TimeoutException">A phase passed its deadline.</exception>
    /// <exception cref="InvalidOperationException">Another version is being published.</exception>
    public async Task<PublishedPolicy> PublishAsync(WeightSnapshot snapshot, CancellationToken cancel)
    {
        if (Interlocked.Exchange(ref _publishing, 1) != 0) throw new InvalidOperationException($"{snapshot.Version} cannot be published while another version is.");
        try
        {
            ObjectDisposedException.ThrowIf(!_lock.CanWrite, this);
            var policy = await Task.Run(() => Publish(snapshot, cancel), cancel).ConfigureAwait(false);
            _latest = policy;
            return policy;
        }
        finally
        {
            Volatile.Write(ref _publishing, 0);
        }
    }

    /// <summary>Removes all published versions but these and the one this publisher published last.</summary>
    /// <param name="keep">Versions that are served, probed or needed to resume.</param>
    public void Retain(IReadOnlySet<PolicyVersion> keep)
    {
        foreach (var folder in Directory.GetDirectories(_policiesFolder, "v*"))
            if (PolicyFolderWriter.VersionOf(folder) is { } version && version != _latest?.Version && !keep.Contains(version))
                PolicyFolderWriter.Remove(folder);
    }

    /// <summary>Gives the folder back.</summary>
    public void Dispose() => _lock.Dispose();

    private PublishedPolicy Publish(WeightSnapshot snapshot, CancellationToken cancel)
    {
        var phase = new PublishPhase(snapshot.Version, _phaseDeadline, _time, cancel);
        var tensors = _layout.Check(snapshot);
        using var folder = new PolicyFolderWriter(Path.Combine(_policiesFolder, snapshot.Version.ToString()), _disk);
        folder.Begin();
        phase.Run(PublishPhase.Weights, token => folder.WriteWeights(PublishedPolicy.WeightsFile, tensors, index => SnapshotLayout.Pieces(snapshot, index, token)));
        if (_reduced is not null) WriteReduced(phase, folder, snapshot);
        phase.Run(PublishPhase.Links, token => PlaceConstantFiles(folder, tensors, token));
        return phase.Run(PublishPhase.Manifest, token => folder.Finish(snapshot.Version, snapshot.Probe, token));
    }

    private void WriteReduced(PublishPhase phase, PolicyFolderWriter folder, WeightSnapshot snapshot)
    {
        var start = _time.GetTimestamp();
        phase.Run(PublishPhase.Precision, token => folder.WriteReduced(_reduced!, SnapshotLayout.ReaderOf(snapshot), token));
        PrecisionSeconds = _time.GetElapsedTime(start).TotalSeconds;
    }

    private PublishedFile[] PlaceConstantFiles(PolicyFolderWriter folder, TensorHeader[] tensors, CancellationToken cancel)
    {
        _constantFiles ??= ModelFiles.Of(_layout.Config, _modelFolder, SafetensorsWriter.FileOffsets(tensors), _maxSequenceLength, _reduced?.Precision ?? Precision.Fp32);
        return [.. _constantFiles.Select(file => folder.Place(file, _latest, cancel))];
    }

    private static FileStream TakeLock(string policiesFolder)
    {
        try
        {
            Directory.CreateDirectory(policiesFolder);
            return new FileStream(Path.Combine(policiesFolder, LockFile), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException(
                $"{policiesFolder} cannot be taken for publishing: {failure.Message}", "a folder that can be written and that no other run publishes into", "End the other run, or name another run folder", failure);
        }
    }
}
