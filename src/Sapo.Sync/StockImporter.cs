using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Sync.Graphs;

namespace Sapo.Sync;

/// <summary>Makes a folder of ONNX Runtime GenAI's model builder one that an engine can serve: its files, linked, and a sampling head beside them.</summary>
public static class StockImporter
{
    /// <summary>Whether a folder is one: it has genai_config.json and neither a manifest nor a Hugging Face checkpoint.</summary>
    public static bool IsStock(string folder) =>
        File.Exists(Path.Combine(folder, StockModelConfig.FileName)) && !File.Exists(Path.Combine(folder, PolicyManifest.FileName)) && !File.Exists(Path.Combine(folder, "config.json"));

    /// <summary>Imports a folder.</summary>
    /// <param name="folder">genai_config.json, the graph it names with its data, tokenizer files.</param>
    /// <param name="outputFolder">The folder that is made.</param>
    /// <returns>The policy, as version 0 and without probe sequences.</returns>
    /// <exception cref="UserErrorException">The folder's configuration is broken or not supported, or a file cannot be linked or copied.</exception>
    public static PublishedPolicy Import(string folder, string outputFolder)
    {
        var config = StockModelConfig.Read(folder);
        if (!File.Exists(Path.Combine(folder, config.GraphFile)))
            throw new UserErrorException($"{Path.Combine(folder, config.GraphFile)} does not exist", $"the graph that {StockModelConfig.FileName} names", "Copy the whole folder");
        using var writer = new PolicyFolderWriter(outputFolder, new Disk());
        var phase = new PublishPhase(default, Timeout.InfiniteTimeSpan, TimeProvider.System, CancellationToken.None);
        writer.Begin();
        foreach (var path in Directory.GetFiles(folder).Order(StringComparer.Ordinal)) phase.Run(PublishPhase.Links, _ => writer.Link(path));
        phase.Run(PublishPhase.Links, token => writer.Place(new ModelFile(PublishedPolicy.SamplingHeadFile, () => OnnxGraphWriter.HeadGraph(config.VocabSize)), earlier: null, token));
        return phase.Run(PublishPhase.Manifest, token => writer.Finish(default, [], token));
    }
}
