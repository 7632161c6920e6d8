namespace Sapo.Sync;

/// <summary>The two things a publisher asks of a disk; tests put a full or slow one in its place.</summary>
internal class Disk
{
    /// <summary>A new file, open for writing.</summary>
    /// <exception cref="IOException">It exists, or cannot be made.</exception>
    public virtual Stream Create(string path) => new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 1 << 16);

    /// <summary>How many bytes a user may still write to the volume that holds a folder.</summary>
    public virtual long FreeBytes(string folder) => new DriveInfo(folder).AvailableFreeSpace;
}
