using System.Diagnostics;
using System.Globalization;
using Microsoft.ML.OnnxRuntimeGenAI;
using Sapo.Core;
using Sapo.Hybrid.Profiling;

namespace Sapo.Benchmarks;

/// <summary>The same work done as any GenAI program would: the stock model.onnx of a published folder, prompts repeated per group, GenAI's own sampler over the whole vocabulary.</summary>
internal static class StockGenAiBenchmark
{
    /// <summary>Runs the workload's slots once.</summary>
    /// <param name="policy">A published folder.</param>
    /// <param name="workload">Slots, lengths, group size.</param>
    /// <param name="vocabulary">Number of ids.</param>
    /// <param name="threads">Threads of a step.</param>
    /// <returns>Sampled tokens per second of the whole call, the prompts' computation included.</returns>
    public static double TokensPerSecond(PublishedPolicy policy, RolloutWorkload workload, int vocabulary, int threads)
    {
        using var config = new Config(policy.Folder);
        config.Overlay(string.Create(CultureInfo.InvariantCulture, $$"""{ "model": { "decoder": { "session_options": { "intra_op_num_threads": {{threads}} } } } }"""));
        using var model = new Model(config);
        Run(model, workload with { NewTokens = 2 }, vocabulary); // warms up
        var start = Stopwatch.GetTimestamp();
        Run(model, workload, vocabulary);
        return workload.Slots * workload.NewTokens / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static void Run(Model model, RolloutWorkload workload, int vocabulary)
    {
        using var options = new GeneratorParams(model);
        options.SetSearchOption("batch_size", workload.Slots);
        options.SetSearchOption("max_length", workload.PromptTokens + workload.NewTokens);
        options.SetSearchOption("min_length", workload.PromptTokens + workload.NewTokens); // no row ends early
        options.SetSearchOption("do_sample", true);
        options.SetSearchOption("temperature", 1);
        options.SetSearchOption("top_k", vocabulary);
        options.SetSearchOption("top_p", 1);
        using var generator = new Generator(model, options);
        var prompts = new int[workload.Slots * workload.PromptTokens];
        for (var row = 0; row < workload.Slots; row++)
            for (var position = 0; position < workload.PromptTokens; position++)
                prompts[row * workload.PromptTokens + position] = (2 + 31 * (row / workload.GroupSize) + 7 * position) % vocabulary;
        generator.AppendTokens(prompts);
        for (var step = 0; step < workload.NewTokens; step++) generator.GenerateNextToken();
    }
}
