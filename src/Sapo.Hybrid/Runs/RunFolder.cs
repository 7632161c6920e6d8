// The layout of a run folder, in one place:
//   run.json              the options with every default spelled out
//   model/                the first model, where the run creates one (Hugging Face)
//   coldstart/            the model after the cold start (Hugging Face)
//   policies/v000012/     published versions
//   checkpoints/step-...  learner state and place in the data
//   evaluation/           before.json and after.json
//   metrics.jsonl         one object per step; coldstart.jsonl likewise
//   rollouts/             step-000012.jsonl, before.jsonl, after.jsonl
//   tensorboard/          event files
//   final/                the last policy: Hugging Face + ONNX Runtime + GenAI
//   report.html           written last: a folder that has it is finished
using Sapo.Core;
using Sapo.Core.Options;

namespace Sapo.Hybrid.Runs;

/// <summary>What a run folder holds when a run begins.</summary>
public enum RunFolderState
{
    /// <summary>Nothing of a run.</summary>
    Empty,

    /// <summary>A run that was interrupted; it can go on.</summary>
    Unfinished,

    /// <summary>A run that came to its end.</summary>
    Finished,
}

/// <summary>One run's folder, locked for this process until disposed.</summary>
public sealed class RunFolder : IDisposable
{
    private readonly FileStream _lock;

    private RunFolder(string path, FileStream lockFile, RunFolderState state) => (Path, _lock, State) = (path, lockFile, state);

    /// <summary>Full path.</summary>
    public string Path { get; }

    /// <summary>What was there when it was opened.</summary>
    public RunFolderState State { get; }

    /// <summary>The created model.</summary>
    public string Model => At("model");

    /// <summary>The cold-started model.</summary>
    public string ColdStart => At("coldstart");

    /// <summary>Published versions.</summary>
    public string Policies => At("policies");

    /// <summary>Checkpoints.</summary>
    public string Checkpoints => At("checkpoints");

    /// <summary>Per-step metrics.</summary>
    public string Metrics => At("metrics.jsonl");

    /// <summary>The cold start's losses.</summary>
    public string ColdStartMetrics => At("coldstart.jsonl");

    /// <summary>TensorBoard event files.</summary>
    public string TensorBoard => At("tensorboard");

    /// <summary>The last policy.</summary>
    public string Final => At("final");

    /// <summary>The report.</summary>
    public string Report => At("report.html");

    private string Options => At("run.json");

    /// <summary>The result of an evaluation.</summary>
    /// <param name="when"><c>before</c> or <c>after</c>.</param>
    public string Evaluation(string when) => System.IO.Path.Combine(Path, "evaluation", when + ".json");

    /// <summary>Completions for people and for replays, one per line.</summary>
    /// <param name="what"><c>before</c>, <c>after</c> or <c>step-000012</c>.</param>
    public string RolloutFile(string what) => System.IO.Path.Combine(Path, "rollouts", what + ".jsonl");

    /// <summary>
    /// Opens a folder for a run: an empty one is begun, an unfinished one must be of the very same options, a finished one
    /// is left as it is (see <see cref="State"/>).
    /// </summary>
    /// <param name="path">The folder; made where missing.</param>
    /// <param name="options">The run.</param>
    /// <param name="fresh">Remove an earlier run of this folder first.</param>
    /// <exception cref="UserErrorException">Another process runs here, the folder belongs to another run, or it is no
    /// run folder.</exception>
    public static RunFolder Open(string path, RunOptions options, bool fresh)
    {
        path = System.IO.Path.GetFullPath(path);
        try
        {
            Directory.CreateDirectory(path);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException(
                $"{path} cannot be made: {failure.Message}", "a folder that this user may write to", "Give another one with --out",
                failure);
        }
        var lockFile = Lock(path);
        try
        {
            var state = fresh && Clear(path) ? RunFolderState.Empty : StateOf(path, options);
            var folder = new RunFolder(path, lockFile, state);
            if (state == RunFolderState.Empty)
                AtomicFile.WriteAllBytes(folder.Options, System.Text.Encoding.UTF8.GetBytes(RunOptionsReader.Resolved(options)));
            return folder;
        }
        catch
        {
            lockFile.Dispose();
            throw;
        }
    }

    /// <summary>Gives the folder free for other processes.</summary>
    public void Dispose() => _lock.Dispose();

    private string At(string name) => System.IO.Path.Combine(Path, name);

    private static FileStream Lock(string path)
    {
        var name = System.IO.Path.Combine(path, "run.lock");
        try
        {
            return new FileStream(name, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 1);
        }
        catch (UnauthorizedAccessException failure)
        {
            throw new UserErrorException(
                $"{name} cannot be written: {failure.Message}", "a folder that this user may write to", "Give another one with --out",
                failure);
        }
        catch (IOException busy)
        {
            throw new UserErrorException(
                $"{path} is in use by another run", null, "Wait until it has ended, or give another folder with --out", busy);
        }
    }

    private static RunFolderState StateOf(string path, RunOptions options)
    {
        var file = System.IO.Path.Combine(path, "run.json");
        if (!File.Exists(file))
        {
            var foreign = Directory.EnumerateFileSystemEntries(path).FirstOrDefault(
                entry => !System.IO.Path.GetFileName(entry).StartsWith("run.", StringComparison.Ordinal));
            if (foreign is not null)
                throw new UserErrorException(
                    $"{path} holds {System.IO.Path.GetFileName(foreign)} but no run.json", "an empty folder or that of a run",
                    "Give another folder with --out");
            return RunFolderState.Empty;
        }
        if (RunOptionsReader.FirstDifference(options, RunOptionsReader.Parse(File.ReadAllBytes(file), file)) is { } difference)
            throw new UserErrorException(
                $"{path} holds a run with other options: {difference}", null,
                "Give another folder with --out, or --fresh to remove that run and begin again");
        return File.Exists(System.IO.Path.Combine(path, "report.html")) ? RunFolderState.Finished : RunFolderState.Unfinished;
    }

    /// <summary>
    /// Removes an earlier run, run.json first, so that a half-removed folder is never taken for one; false if there is
    /// none. Other files stay.
    /// </summary>
    private static bool Clear(string path)
    {
        var file = System.IO.Path.Combine(path, "run.json");
        if (!File.Exists(file)) return false;
        File.Delete(file);
        foreach (var name in (string[])["model", "coldstart", "policies", "checkpoints", "evaluation", "rollouts", "tensorboard", "final"])
            if (System.IO.Path.Combine(path, name) is var folder && Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        foreach (var name in (string[])["metrics.jsonl", "coldstart.jsonl", "report.html"]) File.Delete(System.IO.Path.Combine(path, name));
        return true;
    }
}
