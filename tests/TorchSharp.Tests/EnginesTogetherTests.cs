using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Microsoft.ML.OnnxRuntimeGenAI;
using Sapo.Core.Machine;
using Sapo.Testing;
using static TorchSharp.torch;
using Generator = Microsoft.ML.OnnxRuntimeGenAI.Generator;
using Tensor = TorchSharp.torch.Tensor;

namespace TorchSharp.Tests;

/// <summary>libtorch, ONNX Runtime and GenAI in one process: each computes rightly before, between and after the others.</summary>
public sealed class EnginesTogetherTests
{
    private const int NewTokens = 4;

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void AllThree_InOneProcess_ComputeSideBySide()
    {
        NativeEnvironment.Prepare();
        string[] folders = Directory.Exists(Golden.PathOf("genai"))
            ? [.. Directory.EnumerateFiles(Golden.PathOf("genai"), "genai_config.json", SearchOption.AllDirectories).Select(file =>
                Path.GetDirectoryName(file)!).Where(folder => File.Exists(Path.Combine(folder, "model.onnx.data")))]
            : [];
        int cases = 0;
        foreach (string folder in folders)
        {
            CheckTorch();
            long[] generated = Generate(folder), byHand = Decode(folder);
            CheckTorch();
            Assert.Equal(generated, byHand);
            Assert.Equal(generated, Generate(folder));
            cases++;
        }
        Golden.Report("engines in one process", cases);
    }

    private static void CheckTorch()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = arange(300 * 300, ScalarType.Float64).reshape(300, 300).div(9e4).requires_grad_();
        Tensor y = x.mm(x.t()).trace();
        y.backward();
        Assert.True(x.grad!.allclose(x * 2));
    }

    private static int[] Prompt => [5, 17, 42, 9];

    /// <summary>Greedy tokens by GenAI.</summary>
    private static long[] Generate(string folder)
    {
        using var model = new Model(folder);
        using var parameters = new GeneratorParams(model);
        parameters.SetSearchOption("max_length", Prompt.Length + NewTokens);
        parameters.SetSearchOption("do_sample", false);
        using var generator = new Generator(model, parameters);
        generator.AppendTokens(Prompt);
        while (!generator.IsDone()) generator.GenerateNextToken();
        return [.. generator.GetSequence(0).ToArray().Skip(Prompt.Length).Select(token => (long)token)];
    }

    /// <summary>The same by ONNX Runtime, the whole sequence anew for every token; libtorch takes the largest logit.</summary>
    private static long[] Decode(string folder)
    {
        using JsonDocument config = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "genai_config.json")));
        JsonElement decoder = config.RootElement.GetProperty("model").GetProperty("decoder");
        int[] emptyPast = [1, decoder.GetProperty("num_key_value_heads").GetInt32(), 0, decoder.GetProperty("head_size").GetInt32()];
        using var session = new InferenceSession(Path.Combine(folder, "model.onnx"));
        List<long> sequence = [.. Prompt];
        for (int i = 0; i < NewTokens; i++)
        {
            using DisposeScope scope = NewDisposeScope();
            int length = sequence.Count;
            List<NamedOnnxValue> inputs = [.. session.InputMetadata.Keys.Select(name => InputOf(name, emptyPast, sequence))];
            using var outputs = session.Run(inputs, ["logits"]);
            float[] logits = outputs[0].AsEnumerable<float>().ToArray();
            sequence.Add(tensor(logits).reshape(length, -1)[-1].argmax().item<long>());
        }
        return [.. sequence.Skip(Prompt.Length)];
    }

    private static NamedOnnxValue InputOf(string name, int[] emptyPast, List<long> sequence)
    {
        if (name.StartsWith("past", StringComparison.Ordinal)) return NamedOnnxValue.CreateFromTensor(name,
            new DenseTensor<float>(emptyPast));
        long[] values = name == "input_ids" ? [.. sequence] : [.. sequence.Select(_ => 1L)];
        return NamedOnnxValue.CreateFromTensor(name, new DenseTensor<long>(values, [1, values.Length]));
    }
}
