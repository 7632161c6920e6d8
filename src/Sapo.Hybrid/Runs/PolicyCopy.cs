using Sapo.Core;
using Sapo.Learner;

namespace Sapo.Hybrid.Runs;

/// <summary>Copies a published policy to where people look for it.</summary>
internal static class PolicyCopy
{
    private const string AdapterFolder = "adapter"; // of its own: beside config.json, transformers would load it onto its base instead of the merged weights

    /// <summary>Copies every file, the manifest last: an unfinished copy is not a published policy. An earlier copy is replaced.</summary>
    /// <param name="policy">What is copied: the weights with an adapter merged in.</param>
    /// <param name="folder">Where to.</param>
    /// <param name="learner">Its weights are those; where it trains an adapter, that is written to the folder <c>adapter</c> in PEFT's format.</param>
    /// <returns><paramref name="folder"/>.</returns>
    public static string Write(PublishedPolicy policy, string folder, PolicyLearner learner)
    {
        var partial = AtomicFolder.Begin(folder);
        foreach (var file in policy.Manifest.Files.Select(file => file.Name).Append(PolicyManifest.FileName))
            File.Copy(Path.Combine(policy.Folder, file), Path.Combine(partial, file));
        if (learner.IsAdapted) learner.SaveAdapter(Path.Combine(partial, AdapterFolder));
        AtomicFolder.Finish(folder);
        return folder;
    }
}
