using System.Text.Json;
using System.Text.Json.Nodes;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Sync.Graphs;

namespace Sapo.Sync;

/// <summary>A file that is the same in every version of a run.</summary>
/// <param name="Name">Name within the published folder.</param>
/// <param name="Content">Makes its content.</param>
internal sealed record ModelFile(string Name, Func<byte[]> Content);

/// <summary>Everything of a published folder but weights and manifest: graphs, configuration, tokenizer.</summary>
internal static class ModelFiles
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private static readonly string[] Copied =
    [
        "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json",
    ];

    /// <summary>The files of a model.</summary>
    /// <param name="config">The model.</param>
    /// <param name="modelFolder">The Hugging Face folder its configuration and tokenizer are taken from.</param>
    /// <param name="fileOffsets">First byte of every parameter in model.safetensors.</param>
    /// <param name="maxSequenceLength">Longest sequence that will be run, or null for the model's own limit.</param>
    /// <param name="precision">The precision that graphs are written for, beside those in 32 bits.</param>
    public static IReadOnlyList<ModelFile> Of(ModelConfig config, string modelFolder, IReadOnlyDictionary<string, long> fileOffsets, int? maxSequenceLength, Precision precision = Precision.Fp32)
    {
        var graphs = new OnnxGraphWriter(config, fileOffsets, maxSequenceLength);
        return
        [
            new ModelFile(PublishedPolicy.DecodeGraphFile, () => graphs.DecodeGraph()),
            new ModelFile(PublishedPolicy.DirectGraphFile, () => graphs.DecodeGraph(direct: true)),
            new ModelFile(PublishedPolicy.GenAiDecodeGraphFile, graphs.GenAiDecodeGraph),
            .. precision == Precision.Fp32 ? [] : ReducedGraphs(new OnnxGraphWriter(config, fileOffsets, maxSequenceLength, precision), precision),
            new ModelFile(GenAiConfig.GraphFile, graphs.LogitsGraph),
            new ModelFile(GenAiConfig.FileName, () => GenAiConfig.Write(config, graphs.Positions)),
            new ModelFile("config.json", () => InSinglePrecision(Path.Combine(modelFolder, "config.json"))),
            .. Copied.Where(name => File.Exists(Path.Combine(modelFolder, name))).Select(name => new ModelFile(name, () => File.ReadAllBytes(Path.Combine(modelFolder, name)))),
        ];
    }

    private static ModelFile[] ReducedGraphs(OnnxGraphWriter graphs, Precision precision) =>
    [
        new ModelFile(PublishedPolicy.DecodeGraphFileOf(precision), () => graphs.DecodeGraph()),
        new ModelFile(PublishedPolicy.GenAiDecodeGraphFileOf(precision), graphs.GenAiDecodeGraph),
    ];

    // Published weights are F32 whatever the model was stored as; everything else in config.json stays.
    private static byte[] InSinglePrecision(string path)
    {
        var config = JsonNode.Parse(File.ReadAllBytes(path))!.AsObject();
        config[config.ContainsKey("dtype") ? "dtype" : "torch_dtype"] = "float32";
        return JsonSerializer.SerializeToUtf8Bytes(config, Indented);
    }
}
