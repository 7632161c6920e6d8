// Sample: the sampling head of a decode graph as one node.
//   logits [rows, vocabulary]; uniform, temperature, repetition, frequency, presence [rows]; history, history counts [rows, width], history length [rows];
//   top-k, top-p, min-p, min-p first [rows], kept limit, truncate; forced token, alternatives [rows]
//     -> token, log-prob, untruncated log-prob, kept count [rows], kept ids [rows, limit or 0], alternative ids and log-probs [rows, most wanted]
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Sapo.Rollout.Kernels;

/// <summary>The operator over <see cref="SamplingKernel"/>.</summary>
internal static unsafe class SamplingOperators
{
    // Places among the inputs and outputs that are not simply one number per row.
    private const int Logits = 0, History = 6, HistoryCounts = 7, KeptLimit = 13, Truncate = 14, Alternatives = 16, InputCount = 17;
    private const int KeptIds = 4, AlternativeIds = 5, OutputCount = 7;
    private const int ProductsPerScore = 16, ProductsPerRanking = 1 << 19; // what they cost, in multiply-adds

    /// <summary>Makes the operator.</summary>
    public static nint Create(int threads)
    {
        const TensorElementType Float = TensorElementType.Float, Integer = TensorElementType.Int64, Truth = TensorElementType.Bool;
        return OrtOperator.Create(
            "Sample\0"u8, threads,
            [Float, Float, Float, Float, Float, Float, Integer, Float, Integer, Integer, Float, Float, Truth, Integer, Truth, Integer, Integer], optionalInputs: 0,
            [Integer, Float, Float, Integer, Integer, Integer, Float], &OrtOperator.NoState, &Compute);
    }

    [SkipLocalsInit]
    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static nint Compute(OrtOperator.Kernel* kernel, nint context)
    {
        var inputs = stackalloc OrtInterface.Tensor[InputCount];
        nint status;
        for (var i = 0; i < InputCount; i++)
            if ((status = OrtInterface.Input(context, i, out inputs[i])) != 0) return status;
        if (!Fit(inputs)) return OrtInterface.Failure("sapo.Sample: inputs are not one per row of logits [rows, vocabulary]\0"u8);
        var sampling = new Sampling { Call = Read(inputs) };
        ref var call = ref sampling.Call;
        var (keptLimit, alternatives) = (*(long*)inputs[KeptLimit].Data, Largest((long*)inputs[Alternatives].Data, call.Rows));
        if (!IsWithin(call) || keptLimit is < 0 or > int.MaxValue || alternatives > Math.Min(SamplingKernel.Candidates, call.Vocabulary))
            return OrtInterface.Failure("sapo.Sample: a token, a length of a history or the number of kept ids or alternatives is out of range\0"u8);
        (call.KeptWidth, call.Alternatives) = (call.Truncate ? (int)keptLimit : 0, (int)alternatives);
        if ((status = Bind(context, ref call)) != 0) return status;
        var rankings = (call.Truncate ? 1 : 0) + (alternatives > 0 ? 1 : 0);
        sampling.Tasks = KernelOperators.Tasks(kernel, call.Rows, call.Rows * ((long)call.Vocabulary * ProductsPerScore + rankings * ProductsPerRanking));
        if (sampling.Tasks > 1) return OrtInterface.Run(context, &Run, sampling.Tasks, &sampling);
        for (var row = 0; row < call.Rows; row++) SamplingKernel.Draw(call, row);
        return 0;
    }

    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run(Sampling* sampling, nuint index)
    {
        var (from, to) = KernelOperators.Part(sampling->Call.Rows, sampling->Tasks, (int)index);
        for (var row = from; row < to; row++) SamplingKernel.Draw(sampling->Call, row);
    }

    private static bool Fit(OrtInterface.Tensor* inputs)
    {
        if (inputs[Logits].Dimensions != 2 || inputs[Logits][1] < 1 || inputs[KeptLimit].Count != 1 || inputs[Truncate].Count != 1) return false;
        var rows = inputs[Logits][0];
        for (var i = 1; i < InputCount; i++)
        {
            if (i is KeptLimit or Truncate) continue;
            if (inputs[i].Dimensions != (i is History or HistoryCounts ? 2 : 1) || inputs[i][0] != rows) return false;
        }
        return inputs[HistoryCounts][1] == inputs[History][1];
    }

    private static SamplingCall Read(OrtInterface.Tensor* inputs) => new()
    {
        Logits = inputs[Logits].Floats, Uniform = inputs[1].Floats, Temperature = inputs[2].Floats,
        Repetition = inputs[3].Floats, Frequency = inputs[4].Floats, Presence = inputs[5].Floats,
        History = (long*)inputs[History].Data, HistoryCounts = inputs[HistoryCounts].Floats, HistoryLength = (long*)inputs[8].Data,
        TopK = (long*)inputs[9].Data, TopP = inputs[10].Floats, MinP = inputs[11].Floats, MinPFirst = (bool*)inputs[12].Data,
        Truncate = *(bool*)inputs[Truncate].Data, Forced = (long*)inputs[15].Data,
        Rows = inputs[Logits][0], Vocabulary = inputs[Logits][1], HistoryWidth = inputs[History][1],
    };

    // Every id that is looked up.
    private static bool IsWithin(in SamplingCall call)
    {
        for (var row = 0; row < call.Rows; row++)
        {
            var length = call.HistoryLength[row];
            if (call.Forced[row] >= call.Vocabulary || length < 0 || length > call.HistoryWidth) return false;
            var history = call.History + (nint)row * call.HistoryWidth;
            for (var i = 0; i < length; i++)
                if ((ulong)history[i] >= (ulong)call.Vocabulary) return false;
        }
        return true;
    }

    private static long Largest(long* values, int count)
    {
        var largest = 0L;
        for (var i = 0; i < count; i++) largest = Math.Max(largest, values[i]);
        return largest;
    }

    private static nint Bind(nint context, ref SamplingCall call)
    {
        var outputs = stackalloc void*[OutputCount];
        for (var i = 0; i < OutputCount; i++)
        {
            var output = new OrtInterface.Tensor { Dimensions = i < KeptIds ? 1 : 2 };
            (output.Shape[0], output.Shape[1]) = (call.Rows, i == KeptIds ? call.KeptWidth : call.Alternatives);
            var status = OrtInterface.Output(context, i, ref output);
            if (status != 0) return status;
            outputs[i] = output.Data;
        }
        call.Token = (long*)outputs[0];
        call.LogProb = (float*)outputs[1];
        call.UntruncatedLogProb = (float*)outputs[2];
        call.KeptCount = (long*)outputs[3];
        call.KeptIds = (long*)outputs[KeptIds];
        call.AlternativeIds = (long*)outputs[AlternativeIds];
        call.AlternativeLogProbs = (float*)outputs[AlternativeIds + 1];
        return 0;
    }

    // What the tasks of a call share; lies on the stack of Compute, which waits for them.
    private struct Sampling
    {
        public SamplingCall Call;
        public int Tasks;
    }
}
