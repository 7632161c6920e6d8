using Sapo.Core;

namespace Sapo.Hybrid.Runs;

/// <summary>Copies a published policy to where people look for it.</summary>
internal static class PolicyCopy
{
    /// <summary>Copies every file, the manifest last: an unfinished copy is not a published policy. An earlier copy is replaced.</summary>
    public static void Write(PublishedPolicy policy, string folder)
    {
        var partial = AtomicFolder.Begin(folder);
        foreach (var file in policy.Manifest.Files.Select(file => file.Name).Append(PolicyManifest.FileName))
            File.Copy(Path.Combine(policy.Folder, file), Path.Combine(partial, file));
        AtomicFolder.Finish(folder);
    }
}
