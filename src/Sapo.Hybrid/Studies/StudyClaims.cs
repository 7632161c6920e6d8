using Sapo.Core;

namespace Sapo.Hybrid.Studies;

/// <summary>
/// Who does what, among any number of processes: a claim is an open file that the system locks, so it ends when its
/// owner gives it back or dies in whatever way. The files themselves stay, empty; only an open one counts.
/// </summary>
/// <param name="folder">Where the files lie; made where missing.</param>
internal sealed class StudyClaims(string folder)
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    /// <summary>Claims a name; null if someone else, in this process or another, has it.</summary>
    /// <exception cref="UserErrorException">The folder cannot be written.</exception>
    public IDisposable? TryTake(string name)
    {
        var path = Path.Combine(folder, name + ".lock");
        try
        {
            Directory.CreateDirectory(folder);
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 1);
        }
        catch (UnauthorizedAccessException failure)
        {
            throw Unwritable(path, failure);
        }
        catch (IOException failure) when (failure is DirectoryNotFoundException || !File.Exists(path))
        {
            throw Unwritable(path, failure);
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Claims a name, waiting for whoever has it; for what takes a moment only.</summary>
    public IDisposable Take(string name)
    {
        IDisposable? taken;
        while ((taken = TryTake(name)) is null) Thread.Sleep(Pause);
        return taken;
    }

    private static UserErrorException Unwritable(string path, Exception failure) =>
        new($"{path} cannot be written: {failure.Message}", "a study's folder that this user may write to", "Copy the study's folder to such a place", failure);
}
