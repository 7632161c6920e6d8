// What an engine reads where its precision is below 32 bits. Beside model.safetensors, which stays what it is, a published
// folder then holds weights.<precision>.safetensors:
//   int8, int4   for every matrix that hidden states are multiplied with: its integers (<name>.<precision>) and scales (<name>.scales).
//                Embedding rows, norms, biases and a mixture's router are read from model.safetensors as they are.
//   fp16, bf16   every parameter under its own name.
// Integers are those of com.microsoft.MatMulNBits: a row [in] is cut into blocks of 32, each with one scale; weight =
// (integer - middle) * scale with middle 128 or 8; two 4-bit integers share a byte, the earlier one in the lower half.
using Sapo.Core.Safetensors;

namespace Sapo.Core.Models;

/// <summary>One tensor of the reduced weights.</summary>
/// <param name="Header">Name, type and shape in the file.</param>
/// <param name="Source">The parameter it is made from.</param>
/// <param name="IsScale">Whether it holds the scales of the integers before it.</param>
public sealed record ReducedTensor(TensorHeader Header, string Source, bool IsScale);

/// <summary>The layout of a model's weights at one precision below 32 bits.</summary>
public sealed class ReducedLayout
{
    /// <summary>Weights that share a scale.</summary>
    public const int BlockSize = 32;

    private readonly HashSet<string> _quantised;

    /// <summary>The layout of a model.</summary>
    /// <param name="config">The model.</param>
    /// <param name="precision">Any but <see cref="Precision.Fp32"/>.</param>
    /// <exception cref="UserErrorException">The model cannot be served at this precision.</exception>
    public ReducedLayout(ModelConfig config, Precision precision)
    {
        if (precision is Precision.Fp32) throw new ArgumentOutOfRangeException(nameof(precision), "Weights in 32 bits are not reduced.");
        if (config.Mixture is not null && precision is Precision.Fp16 or Precision.Bf16)
            throw new UserErrorException(
                $"The precision {precision.Name()} is asked for a mixture of experts", "fp32, int8 or int4 for it", "Choose another precision: the mixture's graph is written in 32-bit activations");
        (Config, Precision) = (config, precision);
        _quantised = [.. config.Parameters().Where(parameter => IsFactor(config, precision, parameter.Name, parameter.Shape)).Select(parameter => parameter.Name)];
        Tensors = [.. config.Parameters().SelectMany(parameter => TensorsOf(parameter.Name, parameter.Shape))];
    }

    /// <summary>The model.</summary>
    public ModelConfig Config { get; }

    /// <summary>The precision.</summary>
    public Precision Precision { get; }

    /// <summary>Everything in the file, in its order.</summary>
    public IReadOnlyList<ReducedTensor> Tensors { get; }

    /// <summary>Bits of a quantised weight; 0 where weights are floats.</summary>
    public int Bits => Precision switch { Precision.Int8 => 8, Precision.Int4 => 4, _ => 0 };

    /// <summary>The name of the integers of a matrix.</summary>
    public string IntegersOf(string matrix) => $"{matrix}.{Precision.Name()}";

    /// <summary>The name of the scales of a matrix.</summary>
    public static string ScalesOf(string matrix) => matrix + ".scales";

    /// <summary>Whether products with a matrix take its integers.</summary>
    public bool IsQuantised(string matrix) => _quantised.Contains(matrix);

    /// <summary>Whether a parameter is read from model.safetensors, in 32 bits.</summary>
    public bool IsKept(string parameter) => Bits > 0 && (!_quantised.Contains(parameter) || (Config.TieWordEmbeddings && IsEmbedding(parameter)));

    private IEnumerable<ReducedTensor> TensorsOf(string name, long[] shape)
    {
        if (Bits == 0)
        {
            yield return new ReducedTensor(new TensorHeader(name, Precision == Precision.Fp16 ? WeightType.F16 : WeightType.BF16, shape), name, IsScale: false);
        }
        else if (_quantised.Contains(name))
        {
            var blocks = (shape[1] + BlockSize - 1) / BlockSize;
            yield return new ReducedTensor(new TensorHeader(IntegersOf(name), WeightType.U8, [shape[0], blocks, BlockSize * Bits / 8]), name, IsScale: false);
            yield return new ReducedTensor(new TensorHeader(ScalesOf(name), WeightType.F32, [shape[0], blocks]), name, IsScale: true);
        }
    }

    // An untied embedding is only looked up, and a router decides by small differences: both stay as they are.
    private static bool IsFactor(ModelConfig config, Precision precision, string name, long[] shape) =>
        precision is Precision.Int8 or Precision.Int4 && shape.Length == 2 && !name.EndsWith(".mlp.gate.weight", StringComparison.Ordinal)
        && (config.TieWordEmbeddings || !IsEmbedding(name));

    private static bool IsEmbedding(string name) => name == "model.embed_tokens.weight";
}
