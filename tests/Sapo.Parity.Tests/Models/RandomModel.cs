// A Qwen3 model of random weights, told by the command line of the script that makes it for other engines too:
//
//   make_models.py --size S --dtype f32 --seed 1  ->  RandomModel  ->  config.json, model.safetensors
//
// A tensor's numbers depend on seed, name and shape alone, so a file made here holds what the script's holds.
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;

namespace Sapo.Parity.Models;

/// <summary>What the command line asks for.</summary>
/// <param name="Shape">Number by name: hidden, layers, heads, kv-heads, head-dim, ffn, vocab, context.</param>
/// <param name="Tied">Whether the output projection is the embedding.</param>
/// <param name="Type">What weights are stored in.</param>
/// <param name="Seed">Of all weights.</param>
/// <param name="LogitScale">Standard deviation of the logits, about.</param>
internal sealed record RandomModel(IReadOnlyDictionary<string, int> Shape, bool Tied, WeightType Type, ulong Seed, double LogitScale)
{
    private const string Script = "make_models.py";

    private static readonly string[] Dimensions = ["hidden", "layers", "heads", "kv-heads", "head-dim", "ffn", "vocab", "context"];

    private static readonly Dictionary<string, int[]> Sizes = new(StringComparer.Ordinal)
    {
        ["S"] = [128, 4, 4, 2, 32, 384, 512, 4096],
        ["M"] = [768, 12, 12, 4, 64, 2048, 32000, 4096],
        ["L"] = [1024, 28, 16, 8, 128, 3072, 151936, 40960],
    };

    private static readonly Dictionary<string, (WeightType Type, string Name)> Types = new(StringComparer.Ordinal)
    {
        ["f32"] = (WeightType.F32, "float32"), ["f16"] = (WeightType.F16, "float16"), ["bf16"] = (WeightType.BF16, "bfloat16"),
    };

    /// <summary>Number of weights.</summary>
    public long Parameters => Tensors().Sum(tensor => tensor.Shape.Aggregate(1L, (product, size) => product * size));

    /// <summary>Understands a command line.</summary>
    /// <exception cref="FormatException">It says something that is not known here.</exception>
    public static RandomModel Parse(string commandLine)
    {
        var words = commandLine.Split([' ', '='], StringSplitOptions.RemoveEmptyEntries);
        var options = new Dictionary<string, string>(StringComparer.Ordinal) { ["size"] = "S", ["dtype"] = "f32", ["seed"] = "1", ["logit-scale"] = "2" };
        var (known, tied) = (options.Keys.Concat(Dimensions).Concat(["gguf", "hf"]).ToHashSet(StringComparer.Ordinal), true);
        for (var i = Array.FindIndex(words, word => word.EndsWith(Script, StringComparison.Ordinal)) + 1; i < words.Length; i++)
            if (words[i] == "--untied") tied = false;
            else if (i > 0 && words[i].StartsWith("--", StringComparison.Ordinal) && known.Contains(words[i][2..]) && i + 1 < words.Length) options[words[i][2..]] = words[++i];
            else throw new FormatException($"'{words[i]}' is not known");
        if (!Sizes.TryGetValue(options["size"], out var size)) throw new FormatException($"size {options["size"]} is not known");
        if (!Types.TryGetValue(options["dtype"], out var type)) throw new FormatException($"dtype {options["dtype"]} has no safetensors form");
        return new RandomModel(
            Dimensions.Zip(size).ToDictionary(pair => pair.First, pair => options.TryGetValue(pair.First, out var text) ? int.Parse(text, CultureInfo.InvariantCulture) : pair.Second, StringComparer.Ordinal),
            tied, type.Type, ulong.Parse(options["seed"], CultureInfo.InvariantCulture), double.Parse(options["logit-scale"], CultureInfo.InvariantCulture));
    }

    /// <summary>Writes config.json and model.safetensors.</summary>
    /// <param name="folder">Made.</param>
    public void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllBytes(Path.Combine(folder, "config.json"), JsonSerializer.SerializeToUtf8Bytes(Config()));
        TensorHeader[] tensors = [.. Tensors()];
        using var stream = File.Create(Path.Combine(folder, "model.safetensors"));
        SafetensorsWriter.Write(stream, tensors, index => [Bytes(Values(tensors[index].Name, tensors[index].Shape))]);
    }

    /// <summary>The numbers of a tensor before they are rounded to its type: norms 1 + 0.1 N(0, 1), matrices N(0, 1) / sqrt(inputs), embeddings times the logits' scale.</summary>
    public float[] Values(string name, IReadOnlyList<long> shape)
    {
        uint[] seed = Seed <= uint.MaxValue ? [(uint)Seed] : [(uint)Seed, (uint)(Seed >> 32)];
        var generator = new NumpyGenerator([.. seed, Crc32(name)]);
        var values = new float[shape.Aggregate(1L, (product, size) => product * size)];
        var gain = name is "model.embed_tokens.weight" or "lm_head.weight" ? LogitScale : 1;
        var scale = (float)(gain / Math.Sqrt(shape[^1]));
        for (var i = 0; i < values.Length; i++) values[i] = shape.Count == 1 ? 1 + 0.1f * generator.NextNormal() : scale * generator.NextNormal();
        return values;
    }

    private ReadOnlyMemory<byte> Bytes(float[] values)
    {
        if (Type == WeightType.F32) return MemoryMarshal.AsBytes<float>(values).ToArray();
        var bytes = new byte[2 * values.Length];
        WeightConversion.FromSingle(values, Type, bytes);
        return bytes;
    }

    private IEnumerable<TensorHeader> Tensors()
    {
        var (hidden, ffn, head, queries, keys) = (Shape["hidden"], Shape["ffn"], Shape["head-dim"], Shape["heads"] * Shape["head-dim"], Shape["kv-heads"] * Shape["head-dim"]);
        yield return Of("model.embed_tokens", Shape["vocab"], hidden);
        for (var layer = 0; layer < Shape["layers"]; layer++)
        {
            var prefix = $"model.layers.{layer}.";
            yield return Of(prefix + "input_layernorm", hidden);
            yield return Of(prefix + "self_attn.q_proj", queries, hidden);
            yield return Of(prefix + "self_attn.k_proj", keys, hidden);
            yield return Of(prefix + "self_attn.v_proj", keys, hidden);
            yield return Of(prefix + "self_attn.q_norm", head);
            yield return Of(prefix + "self_attn.k_norm", head);
            yield return Of(prefix + "self_attn.o_proj", hidden, queries);
            yield return Of(prefix + "post_attention_layernorm", hidden);
            yield return Of(prefix + "mlp.gate_proj", ffn, hidden);
            yield return Of(prefix + "mlp.up_proj", ffn, hidden);
            yield return Of(prefix + "mlp.down_proj", hidden, ffn);
        }
        yield return Of("model.norm", hidden);
        if (!Tied) yield return Of("lm_head", Shape["vocab"], hidden);
    }

    private TensorHeader Of(string name, params long[] shape) => new(name + ".weight", Type, shape);

    private Dictionary<string, object?> Config() => new(StringComparer.Ordinal)
    {
        ["architectures"] = new[] { "Qwen3ForCausalLM" }, ["model_type"] = "qwen3", ["attention_bias"] = false, ["attention_dropout"] = 0.0, ["hidden_act"] = "silu",
        ["hidden_size"] = Shape["hidden"], ["intermediate_size"] = Shape["ffn"], ["num_hidden_layers"] = Shape["layers"],
        ["num_attention_heads"] = Shape["heads"], ["num_key_value_heads"] = Shape["kv-heads"], ["head_dim"] = Shape["head-dim"],
        ["max_position_embeddings"] = Shape["context"], ["max_window_layers"] = Shape["layers"], ["rms_norm_eps"] = 1e-6, ["rope_theta"] = 1e6, ["rope_scaling"] = null,
        ["sliding_window"] = null, ["use_sliding_window"] = false, ["use_cache"] = true, ["tie_word_embeddings"] = Tied, ["vocab_size"] = Shape["vocab"],
        ["initializer_range"] = 0.02, ["bos_token_id"] = 1, ["eos_token_id"] = 2, ["torch_dtype"] = Types.Values.Single(type => type.Type == Type).Name,
    };

    // The checksum of zip files, bit by bit.
    private static uint Crc32(string text)
    {
        var crc = uint.MaxValue;
        foreach (var unit in Encoding.UTF8.GetBytes(text))
        {
            crc ^= unit;
            for (var bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) * 0xEDB88320);
        }
        return ~crc;
    }
}
